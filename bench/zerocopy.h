// zerocopy.h: receivers that put pages into their mappings beside a thread that changes the map: a
// server that receives without copying.
#pragma once

#include "bench/options.h"

namespace pervma::bench {

// Rows: the limits, then every design by the number of threads, of which one advises and the others
// receive. A receiver's operation: sixteen pages are had from the engine and written, put into the
// receiver's mapping under one lock, read there, and taken out again. The adviser's: madvise of the
// middle of its mapping, RANDOM and back, which cuts and joins VMAs under the mmap lock. The space
// has as many other VMAs as asked for.
BenchResult bench_zerocopy(const BenchOptions&);

}  // namespace pervma::bench

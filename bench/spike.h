// spike.h: a pool's threads start all at once, as when a program is launched: each maps a stack and
// an area for its thread-local data in one shared space, and touches them.
#pragma once

#include "bench/options.h"

namespace pervma::bench {

// Rows: the limits, then every design by the number of threads. One operation is one thread's
// start and end: two mmap, one mprotect (the guard below the stack), five pages stored to and read
// back, two munmap. The space has as many other ranges as asked for.
BenchResult bench_spike(const BenchOptions&);

}  // namespace pervma::bench

// lookup.h: what it costs to find the range of an address, keep it from changing, and let it go:
// no writer is there.
#pragma once

#include "bench/options.h"

namespace pervma::bench {

// Rows: the limits; then for each number of ranges limit:walk and every subject, by how ranges are
// picked and by the number of threads. Ranges of one page with gaps of one page.
BenchResult bench_lookup(const BenchOptions&);

}  // namespace pervma::bench

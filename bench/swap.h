// swap.h: more pages in use than there is memory.
#pragma once

#include "bench/options.h"

namespace pervma::bench {

// Rows: every design by the store and the number of threads. One operation is a load and a store of
// a random page of a working set of as many pages as asked for, a quarter of which fits into
// memory; half of a page's bytes do not compress. Each thread has its own part of the pages and
// knows what they hold. Variants: lz4 and zstd, compressed memory; file, in $TMPDIR or /var/tmp.
BenchResult bench_swap(const BenchOptions&);

}  // namespace pervma::bench

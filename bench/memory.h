// memory.h: how much memory one range takes, all included: the range, its share of the tree, what
// the allocator adds, what is kept in reserve.
#pragma once

#include "bench/options.h"

namespace pervma::bench {

// Rows: every subject by spacing (adjacent, gaps), `bytes` being what the process's writable memory
// grew by per range; ranges were inserted in an order without pattern. Rates are those of the
// inserting. One repeat: memory does not vary.
BenchResult bench_memory(const BenchOptions&);

}  // namespace pervma::bench

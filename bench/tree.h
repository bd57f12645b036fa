// tree.h: the data structures alone: what it costs to change them and to walk them.
#pragma once

#include "bench/options.h"

namespace pervma::bench {

// Rows: the limits; then for each number of ranges:
//   store, erase          the maple tree, one range of one page between others
//   walk                  the maple tree without any lock but RCU, beside limit:walk; by threads
//   gap-near, gap-far     the maple tree: the lowest gap of one page from a random place on; the
//                         lowest of more pages than any gap between the ranges has
//   insert-erase          every subject: one range, as its users change it; one operation is both
//   insert-erase-64       subjects that can: 64 changes under one hold of the lock
BenchResult bench_tree(const BenchOptions&);

}  // namespace pervma::bench

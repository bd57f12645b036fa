// lookup.h: what it costs to find the VMA of an address, lock it for read, and unlock it, beside
// what cannot be avoided: a pair of atomic operations.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/bench_row.h"
#include "pervma/design.h"
#include "pervma/error.h"

namespace pervma::bench {

struct LookupOptions {
  uint64_t ranges = 1000;  // VMAs of one page, with gaps of one page
  uint32_t repeats = 20;   // subjects take turns
};

// Rows: limit:pair, limit:rcu, limit:walk, then each design that locks VMAs. One thread, addresses
// in random order.
Result<std::vector<BenchRow>> bench_lookup(const LookupOptions&);

}  // namespace pervma::bench

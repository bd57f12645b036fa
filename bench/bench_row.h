// bench_row.h: one line of a benchmark's result, the same for every benchmark.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pervma::bench {

struct BenchRow {
  std::string scenario;
  std::string subject;  // a design, or limit:... for what the machine itself costs
  uint64_t ranges = 0;
  uint32_t threads = 1;
  double ops_per_s = 0;
  double ns_p50 = 0;  // per operation, over batches of all repeats
  double ns_p99 = 0;
  double ns_p999 = 0;
  double ns_max = 0;
  uint64_t bytes = 0;  // of memory per range, where that was measured
  uint32_t repeats = 0;
  double spread_pct = 0;  // (slowest - fastest) / median of the repeats
};

}  // namespace pervma::bench

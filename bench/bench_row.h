// bench_row.h: one line of a benchmark's result, the same for every benchmark.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pervma::bench {

struct BenchRow {
  std::string scenario;
  std::string variant;  // of the scenario: uniform, next-door; empty where there is one only
  std::string subject;  // a design, rangemap, a peer, or limit:... for the machine itself
  std::string role;     // reader or writer; empty where there is one kind of thread only
  uint64_t ranges = 0;
  uint32_t threads = 1;  // of this role
  double ops_per_s = 0;  // of all threads of this role together; the median of the repeats
  double ns_mean = 0;    // of one thread: what one operation costs it
  double ns_p50 = 0;     // of single operations, sampled over all repeats
  double ns_p99 = 0;
  double ns_p999 = 0;
  double ns_max = 0;
  double bytes = 0;  // of memory per range, where that was measured
  uint32_t repeats = 0;
  double spread_pct = 0;  // (fastest - slowest) / median of the repeats
};

}  // namespace pervma::bench

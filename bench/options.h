// options.h: what a benchmark is asked to measure.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/picker.h"
#include "bench/runner.h"
#include "pervma/design.h"

namespace pervma::bench {

// Whether what people use today is measured too: other libraries, or the kernel itself.
enum class Peers : uint8_t { left_out, measured };

// A benchmark looks at the members that mean something to it.
struct BenchOptions {
  RunOptions run;
  std::vector<Design> designs{kDesigns.begin(), kDesigns.end()};
  Peers peers = Peers::left_out;
  std::vector<uint64_t> ranges{1000};
  std::vector<unsigned> threads{1, 2};
  std::vector<Pick> picks{Pick::uniform};
};

}  // namespace pervma::bench

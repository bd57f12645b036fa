// percentile.h: order statistics of latencies.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace pervma::tools {

// The smallest value that is not below `fraction` of all (nearest rank); 0 without values. Sorts.
class Percentiles {
 public:
  explicit Percentiles(std::vector<uint32_t> values) : values_(std::move(values)) {
    std::ranges::sort(values_);
  }
  uint32_t at(double fraction) const {
    if (values_.empty()) return 0;
    const auto rank =
        static_cast<size_t>(std::ceil(fraction * static_cast<double>(values_.size())));
    return values_[std::min(values_.size() - 1, rank == 0 ? 0 : rank - 1)];
  }
  uint32_t max() const { return values_.empty() ? 0 : values_.back(); }

 private:
  std::vector<uint32_t> values_;
};

}  // namespace pervma::tools

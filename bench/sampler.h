// sampler.h: times short operations in batches and sums the batches up in a row.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "bench/bench_row.h"

namespace pervma::bench {

// Keeps the compiler from dropping a result.
template <class T>
inline void keep(const T& value) noexcept {
  asm volatile("" : : "r,m"(value) : "memory");
}

class Sampler {
 public:
  // Times `batches` calls of batch(), which does `ops` operations each, as one repeat.
  template <class Batch>
  void repeat(size_t batches, size_t ops, Batch batch) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point begin = Clock::now();
    Clock::time_point last = begin;
    for (size_t i = 0; i < batches; ++i) {
      batch();
      const Clock::time_point now = Clock::now();
      batch_ns_.push_back(ns(now - last) / static_cast<double>(ops));
      last = now;
    }
    repeat_ns_.push_back(ns(last - begin) / static_cast<double>(batches * ops));
  }

  // Fills in the figures: the median of the repeats' means as the rate, batches for the
  // percentiles.
  void fill(BenchRow& row) {
    std::ranges::sort(batch_ns_);
    std::ranges::sort(repeat_ns_);
    const double median = repeat_ns_[repeat_ns_.size() / 2];
    row.ops_per_s = 1e9 / median;
    row.ns_p50 = at(0.5);
    row.ns_p99 = at(0.99);
    row.ns_p999 = at(0.999);
    row.ns_max = batch_ns_.back();
    row.repeats = static_cast<uint32_t>(repeat_ns_.size());
    row.spread_pct = 100 * (repeat_ns_.back() - repeat_ns_.front()) / median;
  }

 private:
  static double ns(std::chrono::steady_clock::duration d) {
    return static_cast<double>(std::chrono::nanoseconds(d).count());
  }
  double at(double fraction) const {
    const auto i = static_cast<size_t>(fraction * static_cast<double>(batch_ns_.size()));
    return batch_ns_[std::min(i, batch_ns_.size() - 1)];
  }

  std::vector<double> batch_ns_;
  std::vector<double> repeat_ns_;
};

}  // namespace pervma::bench

// picker.h: which range the next operation is about.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string_view>
#include <vector>

#include "pervma/address.h"

namespace pervma::bench {

// uniform: all ranges alike. zipf: the k-th most popular 1/k as often as the first, popularity
// strewn over the addresses. distinct: every thread its own part, uniformly.
enum class Pick : uint8_t { uniform, zipf, distinct };

constexpr std::string_view pick_name(Pick p) noexcept {
  switch (p) {
    case Pick::uniform: return "uniform";
    case Pick::zipf: return "zipf";
    case Pick::distinct: return "distinct";
  }
  return "";
}

// gaps: one page, then one page of nothing. adjacent: page after page, neighbours with other rights
// so that they are two VMAs.
enum class Spacing : uint8_t { gaps, adjacent };

// Where the ranges of a benchmark are. All are one page long.
struct Layout {
  uint64_t ranges = 0;
  Spacing spacing = Spacing::gaps;
  uint64_t base = uint64_t{1} << 32;

  uint64_t start(uint64_t i) const noexcept {
    return base + (i << (spacing == Spacing::gaps ? kPageShift + 1 : kPageShift));
  }
  // All of them, in an order without pattern.
  std::vector<uint64_t> shuffled() const {
    std::vector<uint64_t> order(ranges);
    for (uint64_t i = 0; i < ranges; ++i) order[i] = i;
    std::ranges::shuffle(order, std::mt19937_64(ranges));
    return order;
  }
};

// The draws of a zipf distribution, made once and shared: far too slow to draw inside a loop that
// is timed.
class ZipfDraws {
 public:
  static constexpr size_t kDraws = size_t{1} << 16;

  explicit ZipfDraws(uint64_t ranges) : draws_(kDraws) {
    std::vector<double> below(ranges);
    double sum = 0;
    for (uint64_t k = 0; k < ranges; ++k) below[k] = sum += 1.0 / static_cast<double>(k + 1);
    const std::vector<uint64_t> at = Layout{.ranges = ranges}.shuffled();
    std::mt19937_64 random(7);
    std::uniform_real_distribution<double> uniform(0, sum);
    for (uint32_t& draw : draws_) {
      const auto rank = std::ranges::upper_bound(below, uniform(random)) - below.begin();
      draw = static_cast<uint32_t>(at[std::min<uint64_t>(rank, ranges - 1)]);
    }
  }
  uint32_t operator[](size_t i) const noexcept { return draws_[i & (kDraws - 1)]; }

 private:
  std::vector<uint32_t> draws_;
};

class Picker {
 public:
  // `part` of `parts` equal parts of [0, ranges); fewer than 2^32 ranges. Repeats its picks for
  // equal arguments.
  Picker(uint64_t ranges, unsigned part, unsigned parts, uint64_t seed) noexcept
      : first_(ranges * part / parts),
        count_(std::max<uint64_t>(ranges * (part + 1) / parts - first_, 1)),
        state_((seed + 1) * 0x9e3779b97f4a7c15 ^ (part + 1) * 0xd1342543de82ef95) {
    if (state_ == 0) state_ = 1;
  }
  Picker(const ZipfDraws& zipf, unsigned part, uint64_t seed) noexcept
      : zipf_(&zipf), state_(seed * 7919 + part * (ZipfDraws::kDraws / 7)) {}

  uint64_t next() noexcept {
    if (zipf_ != nullptr) return (*zipf_)[state_++];
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return first_ + (((state_ * 0x2545f4914f6cdd1d) >> 32) * count_ >> 32);
  }

 private:
  const ZipfDraws* zipf_ = nullptr;
  uint64_t first_ = 0;
  uint64_t count_ = 1;
  uint64_t state_;
};

}  // namespace pervma::bench

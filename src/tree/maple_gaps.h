// maple_gaps.h: searches for empty runs in a maple tree, by the gaps of its inner nodes.
//
// A child is entered only if its longest run is long enough and it meets the window. A run may be
// found too short only where the window's end cuts it, so at most two ways are walked in vain.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "tree/maple_tree.h"

namespace pervma {

template <class P>
class MapleGapSearch {
 public:
  MapleGapSearch(uint64_t lo, uint64_t hi, uint64_t size) noexcept
      : lo_(lo), hi_(hi), size_(size) {}

  std::optional<uint64_t> lowest(MapleRef<P> node, uint64_t first, uint64_t last) const noexcept {
    const unsigned count = node.head().count;
    for (unsigned s = 0; s < count; ++s) {
      const uint64_t end = s + 1 == count ? last : pivot(node, s);
      if (first > hi_) break;
      if (end >= lo_) {
        if (const auto found = in_slot(node, s, first, end, Lowest{})) return found;
      }
      first = end + 1;
    }
    return std::nullopt;
  }

  std::optional<uint64_t> highest(MapleRef<P> node, uint64_t first, uint64_t last) const noexcept {
    for (unsigned s = node.head().count; s-- > 0;) {
      const uint64_t begin = s == 0 ? first : pivot(node, s - 1) + 1;
      if (last < lo_) break;
      if (begin <= hi_) {
        if (const auto found = in_slot(node, s, begin, last, Highest{})) return found;
      }
      last = begin - 1;
    }
    return std::nullopt;
  }

 private:
  struct Lowest {};
  struct Highest {};

  static uint64_t pivot(MapleRef<P> node, unsigned slot) noexcept {
    return node.is_leaf() ? node.leaf()->pivots[slot].load(std::memory_order_relaxed)
                          : node.inner()->pivots[slot];
  }

  template <class Where>
  std::optional<uint64_t> in_slot(MapleRef<P> node, unsigned slot, uint64_t first, uint64_t last,
                                  Where) const noexcept {
    constexpr bool kLowest = std::is_same_v<Where, Lowest>;
    if (!node.is_leaf()) {
      const MapleInner<P>& inner = *node.inner();
      if (inner.gaps[slot] < size_) return std::nullopt;
      const MapleRef<P> child(inner.slots[slot].load(std::memory_order_relaxed));
      return kLowest ? lowest(child, first, last) : highest(child, first, last);
    }
    if (node.leaf()->slots[slot].load(std::memory_order_relaxed) != 0) return std::nullopt;
    first = std::max(first, lo_);
    last = std::min(last, hi_);
    if (first > last || last - first < size_ - 1) return std::nullopt;
    return kLowest ? first : last - (size_ - 1);
  }

  const uint64_t lo_;
  const uint64_t hi_;
  const uint64_t size_;
};

template <class P>
std::optional<uint64_t> BasicMapleTree<P>::find_gap_lowest(uint64_t lo, uint64_t hi,
                                                           uint64_t size) const noexcept {
  hi = std::min(hi, kMapleMax - 1);
  if (size == 0 || lo > hi || hi - lo < size - 1) return std::nullopt;
  if (empty()) return lo;
  const Ref root(root_.load(std::memory_order_relaxed));
  return MapleGapSearch<P>(lo, hi, size).lowest(root, 0, kMapleMax);
}

template <class P>
std::optional<uint64_t> BasicMapleTree<P>::find_gap_highest(uint64_t lo, uint64_t hi,
                                                            uint64_t size) const noexcept {
  hi = std::min(hi, kMapleMax - 1);
  if (size == 0 || lo > hi || hi - lo < size - 1) return std::nullopt;
  if (empty()) return hi - (size - 1);
  const Ref root(root_.load(std::memory_order_relaxed));
  return MapleGapSearch<P>(lo, hi, size).highest(root, 0, kMapleMax);
}

}  // namespace pervma

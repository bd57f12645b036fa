// place.h: where a mapping goes when the caller leaves it open: top-down below mmap_base, in the
// highest gap that holds it; gaps below a growing VMA are kept.
#pragma once

#include "vm/address_space.h"
#include "vm/vma_rules.h"

namespace pervma {

// The highest place for `length` bytes in [low, high).
template <VmaLockDesign L>
std::optional<Address> BasicAddressSpace<L>::highest_gap(uint64_t length, Address low,
                                                         Address high) const noexcept {
  while (low < high && high - low >= length) {
    const std::optional<uint64_t> gap =
        tree_.find_gap_highest(low.value, high.value - 1, length);
    if (!gap) return std::nullopt;
    const Range place{Address{*gap}, Address{*gap + length}};
    const VmaT* above = vma_from(place.end);
    if (above == nullptr || place.end <= start_with_gap(*above)) return place.start;
    high = start_with_gap(*above);
  }
  return std::nullopt;
}

// The lowest place for `length` bytes in [low, high).
template <VmaLockDesign L>
std::optional<Address> BasicAddressSpace<L>::lowest_gap(uint64_t length, Address low,
                                                        Address high) const noexcept {
  while (low < high && high - low >= length) {
    const std::optional<uint64_t> gap = tree_.find_gap_lowest(low.value, high.value - 1, length);
    if (!gap) return std::nullopt;
    const Range place{Address{*gap}, Address{*gap + length}};
    const VmaT* above = vma_from(place.end);
    if (above == nullptr || place.end <= start_with_gap(*above)) return place.start;
    low = above->end();
  }
  return std::nullopt;
}

// mmap's choice of an address. Under the mmap lock.
template <VmaLockDesign L>
Result<Address> BasicAddressSpace<L>::find_place(Address hint, uint64_t length, const OpenFile* file,
                                                 MapFlags flags) const noexcept {
  if (length > options_.top.value) return std::unexpected(Error::nomem);
  if (any(flags & MapFlags::fixed)) {
    if (hint.value > options_.top.value - length) return std::unexpected(Error::nomem);
    if (!hint.is_page_aligned()) return std::unexpected(Error::inval);
    if (hint < options_.lowest) return std::unexpected(Error::perm);
    return hint;
  }
  hint = hint.page_down();
  if (hint.value != 0) {
    // mmap_min_addr wins over a hint below it.
    if (hint < options_.lowest) hint = options_.lowest;
    if (hint.value <= options_.top.value - length) {
      const VmaT* above = vma_from(hint);
      if (above == nullptr || hint + length <= start_with_gap(*above)) return hint;
    }
  }
  const bool no_hint = hint.value == 0;
  const auto search = [&](uint64_t bytes) -> std::optional<Address> {
    if (auto place = highest_gap(bytes, options_.lowest, options_.mmap_base)) return place;
    return lowest_gap(bytes, options_.mmap_base, options_.top);
  };
  const bool is_private_anonymous = file == nullptr && !any(flags & MapFlags::shared);
  if (no_hint && is_private_anonymous && length % kHugePageSize == 0) {
    // Aligned for huge pages: look for room to align in.
    if (auto wide = search(length + kHugePageSize)) {
      const uint64_t up = (kHugePageSize - wide->value % kHugePageSize) % kHugePageSize;
      return *wide + (up == 0 ? kHugePageSize : up);
    }
  }
  if (auto place = search(length)) return *place;
  return std::unexpected(Error::nomem);
}

}  // namespace pervma

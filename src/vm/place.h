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
    const std::optional<uint64_t> gap = tree_.find_gap_highest(low.value, high.value - 1, length);
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

// Top-down below mmap_base; when that is full, bottom-up from the old base of mappings.
template <VmaLockDesign L>
std::optional<Address> BasicAddressSpace<L>::find_gap(uint64_t length) const noexcept {
  if (auto place = highest_gap(length, options_.lowest, options_.mmap_base)) return place;
  const Address old_base = Address{options_.top.value / 3}.page_down();
  return lowest_gap(length, old_base < options_.lowest ? options_.lowest : old_base, options_.top);
}

// Private anonymous memory in lengths of huge pages is placed so that huge pages fit. Nothing:
// there is no room to align in.
template <VmaLockDesign L>
std::optional<Address> BasicAddressSpace<L>::find_huge_aligned(uint64_t length) const noexcept {
  if (length % kHugePageSize != 0) return std::nullopt;
  const std::optional<Address> wide = find_gap(length + kHugePageSize);
  if (!wide) return std::nullopt;
  const uint64_t up = -wide->value % kHugePageSize;
  return *wide + (up == 0 ? kHugePageSize : up);
}

// mmap's choice of an address. Under the mmap lock.
template <VmaLockDesign L>
Result<Address> BasicAddressSpace<L>::find_place(Address hint, uint64_t length,
                                                 const OpenFile* file,
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
  const bool is_private_anonymous = file == nullptr && !any(flags & MapFlags::shared);
  if (hint.value == 0 && is_private_anonymous) {
    if (const auto place = find_huge_aligned(length)) return *place;
  }
  if (const auto place = find_gap(length)) return *place;
  return std::unexpected(Error::nomem);
}

}  // namespace pervma

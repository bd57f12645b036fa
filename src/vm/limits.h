// limits.h: what a process may map and lock at most.
#pragma once

#include "vm/address_space.h"

namespace pervma {

// RLIMIT_AS.
template <VmaLockDesign L>
bool BasicAddressSpace<L>::may_map(uint64_t pages) const noexcept {
  return mapped_pages_ + pages <= options_.address_space_limit >> kPageShift;
}

// RLIMIT_MEMLOCK, for memory with these flags.
template <VmaLockDesign L>
bool BasicAddressSpace<L>::may_lock(VmaFlags flags, uint64_t bytes) const noexcept {
  if (!flags.has(VmaFlag::locked) || !options_.memlock_limit) return true;
  return (bytes >> kPageShift) + locked_pages_ <= *options_.memlock_limit >> kPageShift;
}

// What of the range is locked already.
template <VmaLockDesign L>
uint64_t BasicAddressSpace<L>::locked_pages_in(Range range) const noexcept {
  uint64_t pages = 0;
  MapleTree::Cursor cursor(tree_, range.start.value);
  for (void* p = range.empty() ? nullptr : cursor.find(range.start.value, range.end.value - 1);
       p != nullptr; p = cursor.next(range.end.value - 1)) {
    const auto& v = *static_cast<const VmaT*>(p);
    if (v.flags().has(VmaFlag::locked)) pages += v.range.intersection(range).pages().value;
  }
  return pages;
}

}  // namespace pervma

// lock_memory.h: mlock and its relatives. A lock is a mark on the VMA and a count against a limit;
// the pages come in afterwards.
#pragma once

#include "vm/limits.h"
#include "vm/populate.h"
#include "vm/vma_edit.h"

namespace pervma {

// Gives a part of one VMA these lock marks.
template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::lock_part(VmaT& v, Range part, VmaFlags marks) noexcept {
  const VmaFlags before = v.flags();
  const VmaFlags after = (before & ~kLockedFlags) | marks;
  if (after == before || !can_be_locked(before)) return {};
  if (Result<void> done = change_flags(v, part, after, v.name); !done) return done;
  const uint64_t pages = part.pages().value;
  if (!after.has(VmaFlag::locked)) {
    locked_pages_ -= pages;
  } else if (!before.has(VmaFlag::locked)) {
    locked_pages_ += pages;
  }
  return {};
}

// The part before a hole stays changed.
template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::apply_lock(Address start, uint64_t length,
                                              VmaFlags marks) noexcept {
  const Address end = start + length;
  if (end < start) return std::unexpected(Error::inval);
  for (Address at = start; at < end;) {
    VmaT* const v = vma_at(at);
    if (v == nullptr) return std::unexpected(Error::nomem);
    const Range part{at, v->end() < end ? v->end() : end};
    if (Result<void> done = lock_part(*v, part, marks); !done) return done;
    at = part.end;
  }
  return {};
}

// Rounds outwards, wrapping as Linux's sums do.
constexpr uint64_t pages_touched_bytes(Address start, uint64_t length) noexcept {
  return (length + start.offset_in_page() + kPageMask) & ~kPageMask;
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::lock(Address address, uint64_t length, LockFlags flags,
                                        const std::stop_token& stop) {
  if (any(flags & ~LockFlags::onfault)) return std::unexpected(Error::inval);
  const std::optional<uint64_t> limit = options_.memlock_limit;
  if (limit == 0) return std::unexpected(Error::perm);
  const uint64_t bytes = pages_touched_bytes(address, length);
  const Address start = address.page_down();
  VmaFlags marks = VmaFlag::locked;
  if (any(flags & LockFlags::onfault)) marks |= VmaFlag::lock_on_fault;
  {
    std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
    if (!write) return std::unexpected(Error::intr);
    mm_.assert_held_write();
    if (limit) {
      uint64_t wanted = (bytes >> kPageShift) + locked_pages_;
      if (wanted > *limit >> kPageShift) {  // What is locked twice is counted once.
        wanted -= locked_pages_in(
            {start, Range::from(start, bytes).value_or(Range{start, Address{~uint64_t{0}}}).end});
      }
      if (wanted > *limit >> kPageShift) return std::unexpected(Error::nomem);
    }
    if (Result<void> done = apply_lock(start, bytes, marks); !done) return done;
  }
  switch (populate({start, start + bytes}, OnFailure::stop, stop)) {
    case FaultOutcome::resolved: return {};
    case FaultOutcome::interrupted: return std::unexpected(Error::intr);
    case FaultOutcome::out_of_memory: return std::unexpected(Error::again);
    default: return std::unexpected(Error::nomem);
  }
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::unlock(Address address, uint64_t length,
                                          const std::stop_token& stop) {
  std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
  if (!write) return std::unexpected(Error::intr);
  mm_.assert_held_write();
  return apply_lock(address.page_down(), pages_touched_bytes(address, length), {});
}

// What cannot be changed is passed over, as in Linux.
template <VmaLockDesign L>
void BasicAddressSpace<L>::lock_everything(VmaFlags marks) noexcept {
  Address at{0};
  while (VmaT* v = vma_from(at)) {
    at = v->end();
    (void)lock_part(*v, v->range, marks);
  }
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::lock_all(LockAllFlags flags, const std::stop_token& stop) {
  constexpr LockAllFlags kWhat = LockAllFlags::current | LockAllFlags::future;
  if (any(flags & ~(kWhat | LockAllFlags::onfault)) || !any(flags & kWhat)) {
    return std::unexpected(Error::inval);
  }
  const std::optional<uint64_t> limit = options_.memlock_limit;
  if (limit == 0) return std::unexpected(Error::perm);
  VmaFlags marks = VmaFlag::locked;
  if (any(flags & LockAllFlags::onfault)) marks |= VmaFlag::lock_on_fault;
  const bool current = any(flags & LockAllFlags::current);
  {
    std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
    if (!write) return std::unexpected(Error::intr);
    mm_.assert_held_write();
    if (current && limit && mapped_pages_ > *limit >> kPageShift) {
      return std::unexpected(Error::nomem);
    }
    future_flags_ = any(flags & LockAllFlags::future) ? marks : VmaFlags{};
    if (current) lock_everything(marks);
  }
  if (current) (void)populate({Address{0}, options_.top}, OnFailure::next_vma, stop);
  return {};
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::unlock_all(const std::stop_token& stop) {
  std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
  if (!write) return std::unexpected(Error::intr);
  mm_.assert_held_write();
  future_flags_ = {};
  lock_everything({});
  return {};
}

}  // namespace pervma

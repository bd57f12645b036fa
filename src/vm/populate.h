// populate.h: bringing pages in before they are touched. No lock is held between two pages: the
// faults are ordinary ones, on behalf of the kernel.
#pragma once

#include "vm/address_space.h"
#include "vm/lookup.h"
#include "vm/vma_rules.h"

namespace pervma {

// The next VMA of the range, as far as it lies in it.
template <VmaLockDesign L>
auto BasicAddressSpace<L>::next_to_populate(Address from, Address end,
                                            const std::stop_token& stop) const noexcept
    -> Result<std::optional<Populate>> {
  const std::optional<MmapRead> read = MmapRead::lock_killable(mm_, stop);
  if (!read || stop.stop_requested()) return std::unexpected(Error::intr);
  const VmaT* v = vma_from(from);
  if (v == nullptr || v->start() >= end) return std::nullopt;
  return Populate{v->range.intersection({from, end}), v->flags()};
}

// Every page of the range that locking wants: private memory that may be written gets pages of its
// own, the rest is read. The first page that cannot be had ends its VMA's part, or everything.
template <VmaLockDesign L>
FaultOutcome BasicAddressSpace<L>::populate(Range range, OnFailure on_failure,
                                            const std::stop_token& stop) noexcept {
  Address at = range.start;
  while (at < range.end) {
    const Result<std::optional<Populate>> found = next_to_populate(at, range.end, stop);
    if (!found) return FaultOutcome::interrupted;
    const std::optional<Populate>& part = *found;
    if (!part) break;
    at = part->range.end;
    if (part->flags.has(VmaFlag::lock_on_fault)) continue;
    FaultOutcome outcome =
        part->flags.has_any(kAccessFlags) ? FaultOutcome::resolved : FaultOutcome::access_error;
    const bool writes = part->flags.has(VmaFlag::write) && !part->flags.has(VmaFlag::shared);
    for (Address page = part->range.start; page < at && outcome == FaultOutcome::resolved;
         page = page + kPageSize) {
      outcome =
          handle_fault(page, writes ? Access::write : Access::read, FaultOrigin::kernel, stop);
    }
    if (outcome != FaultOutcome::resolved && on_failure == OnFailure::stop) return outcome;
  }
  return FaultOutcome::resolved;
}

// madvise's populate_read and populate_write: only with the right, and never over a hole.
template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::advise_populate(Range range, Access access,
                                                   const std::stop_token& stop) noexcept {
  const VmaFlag right = access == Access::write ? VmaFlag::write : VmaFlag::read;
  for (Address at = range.start; at < range.end;) {
    const Result<std::optional<Populate>> found = next_to_populate(at, range.end, stop);
    if (!found) return std::unexpected(found.error());
    const std::optional<Populate>& part = *found;
    if (!part || part->range.start != at) return std::unexpected(Error::nomem);
    if (!part->flags.has(right)) return std::unexpected(Error::inval);
    for (; at < part->range.end; at = at + kPageSize) {
      switch (handle_fault(at, access, FaultOrigin::kernel, stop)) {
        case FaultOutcome::resolved: break;
        case FaultOutcome::interrupted: return std::unexpected(Error::intr);
        case FaultOutcome::out_of_memory: return std::unexpected(Error::nomem);
        default: return std::unexpected(Error::fault);
      }
    }
  }
  return {};
}

}  // namespace pervma

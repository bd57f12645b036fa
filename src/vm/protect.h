// protect.h: mprotect.
#pragma once

#include "vm/vma_edit.h"

namespace pervma {

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::protect_one(VmaT& v, Range range, Prot prot) noexcept {
  const VmaFlags old_flags = v.flags();
  VmaFlags flags = (old_flags & ~kAccessFlags) | flags_from_prot(prot);
  if (exceeds_may(flags)) return std::unexpected(Error::acces);
  if (old_flags.has(VmaFlag::sealed)) return std::unexpected(Error::perm);
  if (flags == old_flags) return {};
  if (flags.has(VmaFlag::write)) {
    // It may be needed in full from now on. What was accounted once stays so, unless it was never
    // touched.
    constexpr VmaFlags kNoCharge =
        VmaFlags(VmaFlag::account) | VmaFlag::write | VmaFlag::shared | VmaFlag::noreserve;
    if (!old_flags.has_any(kNoCharge)) flags |= VmaFlag::account;
  } else if (old_flags.has(VmaFlag::account) && v.is_anonymous() && v.anon_vma() == nullptr) {
    flags &= ~VmaFlags(VmaFlag::account);
  }
  if (!reserve({2, 2})) return std::unexpected(Error::nomem);
  const Result<VmaT*> changed = modify(v, range, {flags, v.name, v.user_context(), v.user_modes()});
  if (!changed) return std::unexpected(changed.error());
  (*changed)->reset_flags(mm_, flags | ((*changed)->flags() & kStickyFlags));
  mmu_.protect(range, flags);
  constexpr VmaFlags kCopies = VmaFlags(VmaFlag::locked) | VmaFlag::write | VmaFlag::shared;
  if ((old_flags & kCopies) == VmaFlags(VmaFlag::locked) &&
      (flags & (kCopies | VmaFlag::lock_on_fault)) == (VmaFlag::locked | VmaFlag::write)) {
    // Locked memory is never waited for: it gets its own pages now, not with the first store.
    for (Address page = range.start; page < range.end; page = page + kPageSize) {
      if (fault_in(**changed, page, Access::write) != FaultOutcome::resolved) break;
    }
  }
  tell(**changed);
  return {};
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::protect(Address start, uint64_t length, Prot prot,
                                           const std::stop_token& stop) {
  const bool growsdown = any(prot & Prot::growsdown);
  const bool growsup = any(prot & Prot::growsup);
  prot = prot & ~(Prot::growsdown | Prot::growsup);
  if (growsdown && growsup) return std::unexpected(Error::inval);
  if (!start.is_page_aligned()) return std::unexpected(Error::inval);
  if (length == 0) return {};
  const Address end = start + page_align_up(length).value_or(0);
  if (end <= start) return std::unexpected(Error::nomem);
  constexpr uint32_t kSem = 8;  // PROT_SEM: known to Linux, without a meaning here
  if ((static_cast<uint32_t>(prot) & ~(7u | kSem)) != 0) return std::unexpected(Error::inval);

  std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
  if (!write) return std::unexpected(Error::intr);
  mm_.assert_held_write();
  VmaT* v = vma_from(start);
  if (v == nullptr) return std::unexpected(Error::nomem);
  if (growsdown) {
    if (v->start() >= end) return std::unexpected(Error::nomem);
    start = v->start();
    if (!v->flags().has(VmaFlag::growsdown)) return std::unexpected(Error::inval);
  } else {
    if (v->start() > start) return std::unexpected(Error::nomem);
    if (growsup) return std::unexpected(Error::inval);
  }
  // The part before a hole or a refusal stays changed.
  for (Address at = start; at < end;) {
    v = vma_from(at);
    if (v == nullptr || v->start() > at) return std::unexpected(Error::nomem);
    const Range part{at, v->end() < end ? v->end() : end};
    if (Result<void> done = protect_one(*v, part, prot); !done) return done;
    at = part.end;
  }
  return {};
}

}  // namespace pervma

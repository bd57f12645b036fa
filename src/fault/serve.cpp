// serve.cpp: which kind of fault it is.
#include "fault/soft_mmu.h"
#include "sync/assert.h"

namespace pervma {

FaultStep SoftMmu::serve(const FaultRequest& fault) noexcept {
  if (fault.hold == FaultHold::speculation && !fault.vma.is_anonymous()) {
    return FaultStep::needs_mmap_lock;
  }
  // Where no lock keeps the VMA, its tables may be on their way out: none is added to them.
  const bool may_add = fault.hold != FaultHold::speculation;
  const LeafSlot slot =
      may_add ? tables_.ensure_unless_huge(fault.address) : tables_.find(fault.address);
  if (!slot) [[unlikely]]
    return serve_without_leaf(fault, slot);
  for (;;) {
    const PageEntry seen = slot.load();
    Step step;
    if (seen.is_none() && !fault.vma.flags().has(VmaFlag::user_fault)) [[likely]] {
      step = fault.vma.is_anonymous() ? serve_anonymous(fault, slot) : serve_file(fault, slot);
    } else if (seen.is_present()) {
      step = serve_present(fault, slot, seen);
    } else if (seen.is_swap()) {
      step = serve_swapped(fault, slot, seen);
    } else if (seen.is_none() || seen.is_closed_mark()) {
      step = serve_told(fault, slot, seen);
    } else {
      // A guard.
      step = fault.validation.holds() ? FaultStep::map_error : FaultStep::needs_mmap_lock;
    }
    if (step) return *step;
  }
}

// A page is there, but perhaps without the right: rights that an mprotect gave come here, the right
// to write a private page comes by copying it, and often another thread was just faster.
SoftMmu::Step SoftMmu::serve_present(const FaultRequest& fault, LeafSlot slot,
                                     PageEntry seen) noexcept {
  const Right rights = rights_of(fault.vma.flags());
  const bool writes = fault.access == Access::write;
  if (writes && seen.is_closed()) [[unlikely]]
    return serve_closed(fault, slot, seen);
  if (writes && !seen.allows(Right::write) && !fault.vma.is_shared()) {
    return copy_on_write(fault, slot, seen);
  }
  const PageEntry wanted = seen.with_rights(writes ? rights : without_write(rights));
  if (wanted == seen) return FaultStep::resolved;
  // The object may want to know of the first write to its page.
  if (writes && fault.hold == FaultHold::vma_lock && !may_ask_under_vma_lock(fault.vma)) {
    return FaultStep::needs_mmap_lock;
  }
  return commit(fault, slot, seen, wanted);
}

// Puts a page of its own in place of what was seen there.
SoftMmu::Step SoftMmu::install_private(const FaultRequest& fault, LeafSlot slot, PageEntry seen,
                                       Frame made) noexcept {
  PERVMA_DASSERT(fault.access == Access::write && fault.vma.anon_vma() != nullptr);
  const Right rights = rights_of(fault.vma.flags());
  frames_.set_mappers(made, fault.vma.mappers(), fault.vma.pgoff_at(fault.address));
  const Step step = commit(fault, slot, seen, PageEntry::page(made, PageKind::anon, rights));
  if (step != FaultStep::resolved) discard_unused(made);
  return step;
}

// Whoever comes from frames may be looking at it since it has mappers: it is not given back at
// once.
void SoftMmu::discard_unused(Frame made) noexcept { const FrameHold unused(frames_, made); }

}  // namespace pervma

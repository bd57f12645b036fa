// copy_on_write.cpp: a store to a private page that others show too: the zero page, a file's page,
// or a page shared with the other side of a fork.
#include "fault/frame_bytes.h"
#include "fault/soft_mmu.h"
#include "sync/rcu.h"

namespace pervma {

SoftMmu::Step SoftMmu::copy_on_write(const FaultRequest& fault, LeafSlot slot,
                                     PageEntry seen) noexcept {
  if (fault.vma.anon_vma() == nullptr) return FaultStep::needs_anon_vma;
  if (seen.is_anon() && !seen.is_zero_page()) {
    const SpinGuard guard(slot.lock());
    if (!fault.validation.holds()) return FaultStep::needs_mmap_lock;
    if (slot.peek() != seen) return {};
    // The other sides have their own copies, or are gone: it need not be copied any more.
    if (frames_.is_sole(seen.frame())) {
      slot.set(seen.with_rights(rights_of(fault.vma.flags())));
      return FaultStep::resolved;
    }
  }
  const Invalidation told(notifiers_, page_range(fault.address));
  const bool zeros = seen.is_zero_page();
  const Frame own = alloc_page(fault, zeros ? Fill::zero : Fill::none);
  if (!own) return no_frame(fault);
  if (zeros) return install_private(fault, slot, seen, own);

  // An advice may drop the page beside us: seen again in this section, its frame stays itself until
  // the section's end, and an entry that is still the same at the end was the same in between.
  const RcuReader rcu;
  if (slot.load() != seen) {
    frames_.give_back(own, FrameUse::page, Fill::none);
    return {};
  }
  copy_frame(frames_.bytes(own), frames_.data(seen.frame()));
  const Step step = install_private(fault, slot, seen, own);
  if (step == FaultStep::resolved) {
    FrameGather gather;
    frames_.drop(seen.frame(), gather);
    frames_.retire(gather);
  }
  return step;
}

}  // namespace pervma

// copy_on_write.cpp: a store to a private page that others show too: the zero page, a file's page,
// or a page shared with the other side of a fork.
#include "fault/frame_bytes.h"
#include "fault/soft_mmu.h"

namespace pervma {

SoftMmu::Step SoftMmu::copy_on_write(const FaultRequest& fault, LeafSlot slot,
                                     PageEntry seen) noexcept {
  if (fault.vma.anon_vma() == nullptr) return FaultStep::needs_anon_vma;
  const bool zeros = seen.is_zero_page();
  Frame shared;
  if (!zeros) {
    const SpinGuard guard(slot.lock());
    if (!fault.validation.holds()) return FaultStep::needs_mmap_lock;
    if (slot.peek() != seen) return {};
    shared = seen.frame();
    // The other sides have their own copies, or are gone: it need not be copied any more.
    if (seen.is_anon() && frames_.is_sole(shared)) {
      slot.set(seen.with_rights(rights_of(fault.vma.flags())));
      return FaultStep::resolved;
    }
    // With a reference of ours nobody else takes the page for his alone and writes into it, so an
    // entry that is what was seen when we are done shows what we copied, whatever came in between.
    frames_.hold(shared);
  }
  const FrameHold kept(frames_, shared);
  const Invalidation told(notifiers_, page_range(fault.address));
  const Frame own = alloc_page(fault, zeros ? Fill::zero : Fill::none);
  if (!own) return no_frame(fault);
  if (!zeros) copy_frame(frames_.bytes(own), frames_.data(shared));
  const Step step = install_private(fault, slot, seen, own);
  if (step == FaultStep::resolved && !zeros) {
    const FrameHold replaced(frames_, shared);  // The entry's reference.
  }
  return step;
}

}  // namespace pervma

// anon_fault.cpp: the first touch of private anonymous memory.
#include "fault/soft_mmu.h"

namespace pervma {

SoftMmu::Step SoftMmu::serve_anonymous(const FaultRequest& fault, LeafSlot slot) noexcept {
  const VmaFields& vma = fault.vma;
  if (fault.access != Access::write) {
    // One frame of zeros serves every page that is only read.
    const Right rights = without_write(rights_of(vma.flags()));
    const PageEntry zeros = PageEntry::page(kZeroFrame, PageKind::anon, rights);
    if (!slot.replace(PageEntry{}, zeros)) return {};
    return FaultStep::resolved;
  }
  if (vma.anon_vma() == nullptr) return FaultStep::needs_anon_vma;
  // Before the table's lock: others spin on that, and this may wait.
  const Frame frame = frames_.alloc(FrameUse::page, Fill::zero);
  if (!frame) return FaultStep::out_of_memory;
  return install_private(fault, slot, PageEntry{}, frame);
}

}  // namespace pervma

// anon_fault.cpp: the first touch of private anonymous memory.
#include "fault/soft_mmu.h"

namespace pervma {

SoftMmu::Step SoftMmu::serve_anonymous(const FaultRequest& fault, LeafSlot slot) noexcept {
  const VmaFields& vma = fault.vma;
  if (fault.access != Access::write) {
    // One frame of zeros serves every page that is only read.
    const Right rights = without_write(rights_of(vma.flags()));
    const PageEntry zeros = PageEntry::page(kZeroFrame, PageKind::anon, rights);
    return commit(fault, slot, PageEntry{}, zeros);
  }
  AnonVma* const anon = vma.anon_vma();
  if (anon == nullptr) return FaultStep::needs_anon_vma;
  // Before the table's lock: others spin on that, and this may wait.
  const Frame frame = alloc_page(fault, Fill::zero);
  if (!frame) return no_frame(fault);
  frames_.set_mappers(frame, &anon->root(), vma.pgoff_at(fault.address));
  const PageEntry entry = PageEntry::page(frame, PageKind::anon, rights_of(vma.flags()));
  const Step step = commit(fault, slot, PageEntry{}, entry);
  if (step != FaultStep::resolved) [[unlikely]]
    discard_unused(frame);
  return step;
}

}  // namespace pervma

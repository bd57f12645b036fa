// file_fault.cpp: the first touch of a page of a backing object, shared anonymous memory included.
#include "fault/frame_bytes.h"
#include "fault/soft_mmu.h"

namespace pervma {

bool SoftMmu::may_ask_under_vma_lock(const VmaFields& vma) noexcept {
  return vma.is_anonymous() || vma.file->object().vma_lock_safety() != VmaLockSafety::unaudited;
}

SoftMmu::Step SoftMmu::serve_file(const FaultRequest& fault, LeafSlot slot) noexcept {
  const VmaFields& vma = fault.vma;
  if (fault.hold == FaultHold::vma_lock && !may_ask_under_vma_lock(vma)) {
    return FaultStep::needs_mmap_lock;
  }
  const bool writes = fault.access == Access::write;
  const bool copies = writes && !vma.is_shared();
  if (copies && vma.anon_vma() == nullptr) return FaultStep::needs_anon_vma;

  PageCache& cache = PageCache::of(*vma.file);
  const uint64_t index = vma.pgoff_at(fault.address);
  if (!cache.has_page(index)) return FaultStep::bus_error;
  Frame cached = cache.find(index);
  if (!cached) {
    const bool waits = vma.file->object().vma_lock_safety() != VmaLockSafety::memory;
    if (waits && fault.hold != FaultHold::mmap_lock_may_wait) return FaultStep::must_wait;
    const PageCache::Page page = cache.get_or_fill(index);
    if (page.end == PageCache::End::unreadable) return FaultStep::bus_error;
    if (page.end == PageCache::End::out_of_memory) return FaultStep::out_of_memory;
    cached = page.frame;
  }

  if (copies) {
    const Frame own = frames_.alloc(FrameUse::page, Fill::none);
    if (!own) return FaultStep::out_of_memory;
    copy_frame(frames_.bytes(own), frames_.data(cached));
    return install_private(fault, slot, PageEntry{}, own);
  }
  // Writable only once it is written: the first store to a page is something to know.
  const Right rights = rights_of(vma.flags());
  const PageEntry entry =
      PageEntry::page(cached, PageKind::file, writes ? rights : without_write(rights));
  frames_.hold(cached);
  if (slot.replace(PageEntry{}, entry)) return FaultStep::resolved;
  FrameGather gather;
  frames_.drop(cached, gather);
  frames_.retire(gather);
  return {};
}

}  // namespace pervma

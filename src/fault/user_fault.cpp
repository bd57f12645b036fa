// user_fault.cpp: an access that the embedder is told of: the page is not there, only its object
// has it, or he has closed it to stores.
#include "fault/soft_mmu.h"
#include "vm/vma_rules.h"

namespace pervma {

// Private memory, and what stands for Linux's shmem: shared mappings of objects in memory.
bool SoftMmu::may_tell(const VmaFields& vma, UserFaultModes modes) const noexcept {
  if (vma.flags().has_any(kSpecialFlags | VmaFlag::special | VmaFlag::droppable)) return false;
  if (vma.is_anonymous()) return !includes(modes, UserFaultModes::minor);
  // May share: also where the opening may not be written, which is refused for that reason.
  return vma.flags().has(VmaFlag::may_share) &&
         vma.file->object().vma_lock_safety() == VmaLockSafety::memory;
}

// Nothing is here, or only the mark that what comes will be closed.
SoftMmu::Step SoftMmu::serve_told(const FaultRequest& fault, LeafSlot slot,
                                  PageEntry seen) noexcept {
  if (fault.hold == FaultHold::speculation) return FaultStep::needs_mmap_lock;
  const VmaFields& vma = fault.vma;
  const UserFaultModes modes = vma.user_modes();
  if (seen.is_closed_mark() && !includes(modes, UserFaultModes::write_protect)) {
    (void)slot.replace(seen, PageEntry{});
    return {};
  }
  if (vma.is_anonymous()) {
    // A store makes the VMA ready for its page before anybody is told, as in Linux: merges and the
    // account of what may be needed go by it.
    const bool writes = fault.access == Access::write;
    if (writes && vma.anon_vma() == nullptr) return FaultStep::needs_anon_vma;
    if (includes(modes, UserFaultModes::missing)) return FaultStep::user_missing;
    return seen.is_none() ? serve_anonymous(fault, slot) : show_closed(fault, slot, seen);
  }
  const PageCache& cache = PageCache::of(*vma.file);
  const uint64_t index = vma.pgoff_at(fault.address);
  if (cache.has_page(index)) {
    const bool cached = static_cast<bool>(cache.find(index));
    if (cached && includes(modes, UserFaultModes::minor)) return FaultStep::user_minor;
    if (!cached && includes(modes, UserFaultModes::missing)) return FaultStep::user_missing;
  }
  return seen.is_none() ? serve_file(fault, slot) : show_closed(fault, slot, seen);
}

// A page takes the place of the mark, closed. Who wants to store looks again, and is told then.
SoftMmu::Step SoftMmu::show_closed(const FaultRequest& fault, LeafSlot slot,
                                   PageEntry seen) noexcept {
  const VmaFields& vma = fault.vma;
  const Right rights = without_write(rights_of(vma.flags()));
  Step step;
  if (vma.is_anonymous()) {
    step = commit(fault, slot, seen, PageEntry::page(kZeroFrame, PageKind::anon, rights).closed());
  } else {
    PageCache& cache = PageCache::of(*vma.file);
    const uint64_t index = vma.pgoff_at(fault.address);
    const uint32_t truncations = cache.truncations();
    if (!cache.has_page(index)) return FaultStep::bus_error;
    const PageCache::Page page = cache.get_or_fill(index, fault.stop_token());
    if (page.end == PageCache::End::interrupted) return FaultStep::interrupted;
    if (page.end == PageCache::End::unreadable) return FaultStep::bus_error;
    if (page.end == PageCache::End::out_of_memory) return FaultStep::out_of_memory;
    FrameHold cached(frames_, page.frame);
    const SpinGuard guard(slot.lock());
    // Under this lock: a truncation finds the entry, or is seen (page_cache.h).
    if (slot.peek() != seen || cache.truncations() != truncations) return {};
    slot.set(PageEntry::page(page.frame, PageKind::file, rights).closed());
    cached.release();
    step = FaultStep::resolved;
  }
  return step == FaultStep::resolved && fault.access == Access::write ? Step{} : step;
}

// A store to a closed page.
SoftMmu::Step SoftMmu::serve_closed(const FaultRequest& fault, LeafSlot slot,
                                    PageEntry seen) noexcept {
  if (fault.hold == FaultHold::speculation) return FaultStep::needs_mmap_lock;
  if (includes(fault.vma.user_modes(), UserFaultModes::write_protect)) {
    return FaultStep::user_write_protect;
  }
  // Nobody is to be told: the mark means nothing.
  (void)slot.replace(seen, seen.opened());
  return {};
}

void SoftMmu::clear_user_protection(Range range) noexcept {
  tables_.for_each_leaf(range, [](const LeafSpan& leaf) {
    const SpinGuard guard(*leaf.lock);
    for (unsigned i = leaf.first; i < leaf.last; i++) {
      const PageEntry entry = leaf.peek(i);
      if (entry.is_closed()) leaf.set(i, entry.opened());
    }
  });
}

// Stores that were allowed before have happened when this returns: each holds the table's lock.
Result<void> SoftMmu::close_pages(const VmaFields& vma, Range range, Closing closing) noexcept {
  const bool marks =
      closing == Closing::close_unpopulated || (closing == Closing::close && !vma.is_anonymous());
  const PageEntry mark =
      PageEntry::closed_mark(vma.is_anonymous() ? PageKind::anon : PageKind::file);
  const Invalidation told(notifiers_, range);
  for (Address at = range.start; at < range.end; at = PageTable::next_leaf(at)) {
    if (marks && !tables_.ensure(at)) return std::unexpected(Error::nomem);
    const Address end = std::min(PageTable::next_leaf(at), range.end);
    tables_.for_each_leaf({at, end}, [&](const LeafSpan& leaf) {
      const SpinGuard guard(*leaf.lock);
      for (unsigned i = leaf.first; i < leaf.last; i++) {
        const PageEntry entry = leaf.peek(i);
        if (closing == Closing::open) {
          if (entry.is_closed()) leaf.set(i, entry.opened());
        } else if (entry.is_none()) {
          if (marks) leaf.set(i, mark);
        } else if (entry.is_present() || entry.is_swap()) {
          leaf.set(i, entry.closed());
        }
      }
    });
  }
  return {};
}

}  // namespace pervma

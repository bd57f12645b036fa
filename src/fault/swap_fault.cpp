// swap_fault.cpp: an access to a page that is in the store, or on its way there.
#include <array>

#include "fault/soft_mmu.h"

namespace pervma {

// The page comes back without the right to be written: the store that wants it looks again, and
// finds whether others still need the page as it is.
SoftMmu::Step SoftMmu::serve_swapped(const FaultRequest& fault, LeafSlot slot,
                                     PageEntry seen) noexcept {
  // Without a lock on the VMA nothing is taken that must be given back.
  if (fault.hold == FaultHold::speculation) return FaultStep::needs_mmap_lock;
  const uint32_t number = seen.swap_slot();
  {
    const SpinGuard guard(slot.lock());
    if (slot.peek() != seen) return {};
    swap_->hold(number);
  }
  const SlotHold hold(*swap_, number);
  Frame frame = swap_->find(number);
  if (!frame) {
    if (swap_->waits() && fault.hold != FaultHold::mmap_lock_may_wait) return FaultStep::must_wait;
    const Swap::Page page = swap_->get(number, fault.stop_token());
    if (page.end == Swap::End::interrupted) return FaultStep::interrupted;
    if (page.end == Swap::End::unreadable) return FaultStep::bus_error;
    if (page.end == Swap::End::out_of_memory) return FaultStep::out_of_memory;
    frame = page.frame;
  }
  const Right rights = without_write(rights_of(fault.vma.flags()));
  SlotGather slots;
  {
    const SpinGuard guard(slot.lock());
    if (slot.peek() == seen) {
      // Only what an entry shows leads to its list: the entry goes before the list does.
      frames_.set_mappers(frame, fault.vma.mappers(), fault.vma.pgoff_at(fault.address));
      slot.set(PageEntry::page(frame, PageKind::anon, rights).marked_as(seen));
      frame = {};
      swap_->drop(number, slots);
    }
  }
  // What is stored need not stay in memory, whoever brought it in.
  swap_->release(number);
  if (frame) {  // Somebody was faster.
    const FrameHold unused(frames_, frame);
    return {};
  }
  swap_->count_in();
  swap_->free(slots);
  if (fault.access == Access::write) return {};
  return FaultStep::resolved;
}

// What a fault has to wait for, found out again under the lock that still keeps the VMA.
AwaitedPage SoftMmu::awaited(const VmaFields& vma, Address a) noexcept {
  if (swap_ != nullptr) {
    if (const LeafSlot slot = tables_.find(a)) {
      const SpinGuard guard(slot.lock());
      const PageEntry entry = slot.peek();
      if (entry.is_swap()) {
        swap_->hold(entry.swap_slot());
        return AwaitedPage(*swap_, entry.swap_slot(), *vma.mappers());
      }
    }
  }
  if (vma.file == nullptr) return AwaitedPage();
  return AwaitedPage(vma, a);
}

// --- from the page, under the lock of its mappers ---

// Only private pages that nobody has locked; `ask`: and that no entry was used since it was asked
// last.
bool SoftMmu::may_evict(Mappers& mappers, uint64_t index, Frame frame, bool ask) noexcept {
  bool any = false;
  bool stays = false;
  mappers.for_each(index, 1, [&](Mmu& space, Range page, VmaFlags flags) {
    const auto& mmu = static_cast<SoftMmu&>(space);
    const Clock clock = flags.has(VmaFlag::locked) ? Clock::leaves
                        : ask                      ? Clock::asks
                                                   : Clock::takes;
    if (mmu.stays_huge(page.start, frame, clock)) any = stays = true;
    const LeafSlot slot = stays ? mmu.tables_.find(page.start) : mmu.tables_.find_split(page.start);
    if (!slot) return;
    const SpinGuard guard(slot.lock());
    const PageEntry entry = slot.peek();
    if (!entry.is_present() || entry.frame() != frame) return;
    any = true;
    if (!entry.is_anon() || flags.has(VmaFlag::locked)) stays = true;
    if (ask && entry.is_young()) {
      stays = true;
      slot.set(entry.aged());
    }
  });
  return any && !stays;
}

void SoftMmu::exchange_for_slot(Mappers& mappers, uint64_t index, Frame frame, Swap& swap,
                                uint32_t number) noexcept {
  mappers.for_each(index, 1, [&](Mmu& space, Range page, VmaFlags) {
    auto& mmu = static_cast<SoftMmu&>(space);
    const LeafSlot slot = mmu.tables_.find_split(page.start);
    if (!slot) return;
    const Invalidation told(mmu.notifiers_, page);
    FrameGather gather;
    {
      const SpinGuard guard(slot.lock());
      const PageEntry entry = slot.peek();
      if (!entry.is_present() || entry.frame() != frame) return;
      swap.hold(number);
      slot.set(PageEntry::swap(number).marked_as(entry));
      mmu.frames_.drop(frame, gather);  // Never the last: the slot has one.
    }
  });
}

void SoftMmu::age(Range range) noexcept {
  const auto age_leaf = [](const LeafSpan& leaf) {
    const SpinGuard guard(*leaf.lock);
    for (unsigned i = leaf.first; i < leaf.last; i++) {
      const PageEntry entry = leaf.peek(i);
      if (entry.is_young()) leaf.set(i, entry.aged());
    }
  };
  tables_.for_each_leaf(range, age_leaf,
                        change_huge(range, [](PageEntry entry) { return entry.aged(); }));
}

// Pages that others show too stay, as in Linux.
void SoftMmu::page_out(Range range, Reclaim& reclaim) noexcept {
  std::array<uint32_t, PageTable::kEntries> found;
  tables_.for_each_leaf(range, [&](const LeafSpan& leaf) {
    unsigned count = 0;
    {
      const SpinGuard guard(*leaf.lock);
      for (unsigned i = leaf.first; i < leaf.last; i++) {
        const PageEntry entry = leaf.peek(i);
        if (!entry.is_anon() || !entry.has_counted_frame()) continue;
        if (frames_.is_sole(entry.frame())) found[count++] = entry.frame().number;
      }
    }
    for (unsigned i = 0; i < count; ++i) {
      (void)reclaim.evict(Frame{found[i]}, Reclaim::Age::ignore);
    }
  });
}

}  // namespace pervma

// huge_table.cpp: huge entries in the page table: their coming, going and splitting.
#include "fault/page_table.h"
#include "sync/assert.h"

namespace pervma {

static_assert(kHugeBytes == uint64_t{1} << PageTable::shift(1));
static_assert(kBlockFrames == PageTable::kEntries);

HugeSlot PageTable::find_huge(Address a) const noexcept {
  if (a >= kEnd) return {};
  Frame table = root_;
  for (unsigned level = kTopLevel;; level--) {
    Slot& slot = slots(table)[index_at(a, level)];
    const PageEntry entry = descend(slot);
    if (entry.is_huge()) return {&slot, &frames_.meta(table)};
    if (!entry.is_present() || level == 1) return {};
    table = entry.frame();
  }
}

HugeSlot PageTable::ensure_huge(Address a) noexcept {
  PERVMA_ASSERT_OP(a, <, kEnd);
  Frame table = root_;
  for (unsigned level = kTopLevel; level > 1; level--) {
    Slot& slot = slots(table)[index_at(a, level)];
    PageEntry entry = descend(slot);
    if (!entry.is_present()) entry = make_table(slot);
    if (!entry.is_present()) return {};
    table = entry.frame();
  }
  return {&slots(table)[index_at(a, 1)], &frames_.meta(table)};
}

void PageTable::put_huge(HugeSlot slot, PageEntry entry, Frame kept, FrameGather& gather) noexcept {
  PageEntry before;
  {
    const SpinGuard guard(slot.lock());
    before = slot.peek();
    PERVMA_ASSERT(!before.is_huge());
    frames_.meta(kept).next = slot.kept();
    slot.kept() = kept.number;
    slot.set(entry);
  }
  // Walkers may be inside: they find its entries empty, and look again.
  if (before.is_table()) frames_.drop_table(before.frame(), gather);
}

PageTable::Taken PageTable::take_huge(HugeSlot slot) const noexcept {
  const SpinGuard guard(slot.lock());
  const PageEntry entry = slot.peek();
  if (!entry.is_huge()) return {};
  slot.set(PageEntry{});
  const Frame kept{slot.kept()};
  slot.kept() = frames_.meta(kept).next;
  return {entry, kept};
}

void PageTable::split(HugeSlot slot) const noexcept {
  const SpinGuard guard(slot.lock());
  const PageEntry entry = slot.peek();
  if (!entry.is_huge()) return;
  const Frame leaf{slot.kept()};
  slot.kept() = frames_.meta(leaf).next;
  frames_.meta(leaf).next = 0;
  // Relaxed: published with the table.
  for (unsigned i = 0; i < kEntries; ++i) {
    slots(leaf)[i].store(entry.part(i).bits(), std::memory_order_relaxed);
  }
  slot.set(PageEntry::table(leaf));
}

LeafSlot PageTable::find_split(Address a) const noexcept {
  for (;;) {
    const LeafSlot slot = find(a);
    if (slot || !slot.met_huge()) return slot;
    if (const HugeSlot huge = find_huge(a)) split(huge);
  }
}

LeafSlot PageTable::ensure(Address a) noexcept {
  for (;;) {
    const LeafSlot slot = ensure_unless_huge(a);
    if (slot || !slot.met_huge()) return slot;
    if (const HugeSlot huge = find_huge(a)) split(huge);
  }
}

}  // namespace pervma

#include "fault/page_table.h"

#include "sync/assert.h"

namespace pervma {

static_assert(sizeof(std::atomic<uint64_t>) * PageTable::kEntries == kPageSize);

PageTable::~PageTable() {
  FrameGather gather;
  free_subtree(root_, kTopLevel, gather);
  frames_.retire(gather);
}

LeafSlot PageTable::find(Address a) const noexcept {
  if (a >= kEnd) return {};
  Frame table = root_;
  for (unsigned level = kTopLevel; level > 0; level--) {
    const PageEntry entry = descend(slots(table)[index_at(a, level)]);
    if (!entry.is_table()) return no_leaf(entry, table);
    table = entry.frame();
  }
  return leaf_slot(table, a);
}

LeafSlot PageTable::ensure_unless_huge(Address a) noexcept {
  PERVMA_ASSERT_OP(a, <, kEnd);
  Frame table = root_;
  for (unsigned level = kTopLevel; level > 0; level--) {
    Slot& slot = slots(table)[index_at(a, level)];
    PageEntry entry = descend(slot);
    if (!entry.is_table()) {
      if (!entry.is_huge()) entry = make_table(slot);
      if (!entry.is_table()) return no_leaf(entry, table);
    }
    table = entry.frame();
  }
  return leaf_slot(table, a);
}

// Faults that need the same new table race for the slot; the losers use the winner's.
PageEntry PageTable::make_table(Slot& slot) noexcept {
  const Frame frame = frames_.alloc(FrameUse::table, Fill::zero);
  if (!frame) return {};
  frames_.meta(frame).next = 0;  // Nothing is kept.
  const PageEntry made = PageEntry::table(frame);
  uint64_t seen = 0;
  if (EntryWord::publish(slot, seen, made.bits())) return made;
  frames_.give_back(frame, FrameUse::table, Fill::zero);
  return PageEntry::from_bits(seen);
}

void PageTable::free_range(Range span, Range limits, FrameGather& gather) noexcept {
  span = span.intersection({Address{0}, kEnd});
  limits = limits.intersection({Address{0}, kEnd});
  if (!span.empty()) free_below(root_, kTopLevel, Address{0}, span, limits, gather);
}

void PageTable::free_below(Frame table, unsigned level, Address base, Range span, Range limits,
                           FrameGather& gather) noexcept {
  const uint64_t step = uint64_t{1} << shift(level);
  const unsigned first = span.start > base ? index_at(span.start, level) : 0;
  for (unsigned i = first; i < kEntries; i++) {
    const Address start = base + i * step;
    if (start >= span.end) break;
    Slot& slot = slots(table)[i];
    const PageEntry entry = descend(slot);
    if (!entry.is_table()) {
      PERVMA_ASSERT(!entry.is_huge());  // A huge page is still mapped where no VMA is.
      continue;
    }
    if (limits.contains(Range{start, start + step})) {
      // Relaxed: nothing is published, and walkers that are inside are waited for.
      slot.store(0, std::memory_order_relaxed);
      free_subtree(entry.frame(), level - 1, gather);
    } else if (level > 1) {
      free_below(entry.frame(), level - 1, start, span, limits, gather);
    }
  }
}

// The entries stay as they are: an unlocked walker inside finds its way to empty leaves.
void PageTable::free_subtree(Frame table, unsigned level, FrameGather& gather) noexcept {
  if (level > 0 || kDebugChecks) {
    for (unsigned i = 0; i < kEntries; i++) {
      const PageEntry entry = descend(slots(table)[i]);
      if (entry.is_none()) continue;
      PERVMA_ASSERT(level > 0 && !entry.is_huge());  // A page is still mapped where no VMA is.
      free_subtree(entry.frame(), level - 1, gather);
    }
  }
  PERVMA_DASSERT(level != 1 || frames_.meta(table).next == 0);
  frames_.drop_table(table, gather);
}

}  // namespace pervma

// soft_mmu.cpp: what mapping operations do to pages, and data access. Faults: serve.cpp and the
// files it names.
#include "fault/soft_mmu.h"

#include <algorithm>
#include <array>

#include "fault/frame_bytes.h"
#include "sync/rcu.h"

namespace pervma {

SoftMmu::Reach SoftMmu::load(Address a, std::span<std::byte> to) const noexcept {
  const RcuReader rcu;
  const LeafSlot slot = tables_.find(a);
  if (!slot) return slot.met_huge() ? load_huge(a, to) : Reach::faults;
  for (;;) {
    const PageEntry entry = slot.load();
    if (!entry.allows(Right::user)) return Reach::faults;
    load_from_frame(to, frames_.data(entry.frame()) + a.offset_in_page());
    EntryWord::end_load();
    const PageEntry now = slot.peek();
    if (!now.allows(Right::user) || now.frame() != entry.frame()) continue;
    if (!now.is_young()) [[unlikely]]
      slot.mark_used(now);
    return Reach::done;
  }
}

SoftMmu::Reach SoftMmu::store(Address a, std::span<const std::byte> from) noexcept {
  const RcuReader rcu;
  const LeafSlot slot = tables_.find(a);
  if (!slot) return slot.met_huge() ? store_huge(a, from) : Reach::faults;
  if (!slot.peek().allows(Right::write)) return Reach::faults;
  const SpinGuard guard(slot.lock());
  const PageEntry entry = slot.peek();
  if (!entry.allows(Right::write)) return Reach::faults;
  EntryWord::begin_store();
  if (!entry.is_young()) [[unlikely]]
    slot.set(entry.used());
  store_to_frame(frames_.data(entry.frame()) + a.offset_in_page(), from);
  return Reach::done;
}

std::byte* SoftMmu::translate(Address a, Access access) const noexcept {
  const PageEntry entry = entry_at(a);
  const Right wanted = access == Access::write  ? Right::write
                       : access == Access::exec ? Right::exec
                                                : Right::user;
  return entry.allows(wanted) ? frames_.data(entry.frame()) : nullptr;
}

PageEntry SoftMmu::entry_at(Address a) const noexcept {
  const RcuReader rcu;
  for (;;) {
    const LeafSlot slot = tables_.find(a);
    if (slot) return slot.load();
    if (!slot.met_huge()) return {};
    if (const HugeSlot huge = tables_.find_huge(a)) {
      const PageEntry entry = huge.load();
      if (entry.is_huge()) return entry.part(a.page() % kBlockFrames);
    }
  }
}

void SoftMmu::zap(Range range) noexcept { zap_entries(range, Marks::drop); }
void SoftMmu::discard(Range range) noexcept { zap_entries(range, Marks::keep); }

void SoftMmu::zap_entries(Range range, Marks marks) noexcept {
  const Invalidation told(notifiers_, range);
  FrameGather gather;
  SlotGather slots;
  const auto zap_leaf = [&](const LeafSpan& leaf) {
    const SpinGuard guard(*leaf.lock);
    for (unsigned i = leaf.first; i < leaf.last; i++) {
      const PageEntry entry = leaf.peek(i);
      if (entry.is_none() || (marks == Marks::keep && entry.is_guard())) continue;
      // What was closed in an object stays so; of private pages that goes with the page.
      const bool stays_closed = marks == Marks::keep && entry.is_closed() && !entry.is_anon();
      leaf.set(i, stays_closed ? PageEntry::closed_mark(PageKind::file) : PageEntry{});
      drop_entry(entry, gather, slots);
    }
  };
  tables_.for_each_leaf(range, zap_leaf, [&](HugeSlot slot, Range whole) {
    if (range.contains(whole)) return zap_huge(slot, gather);
    tables_.split(slot);
    return false;
  });
  finish(gather, slots);
}

bool SoftMmu::zap_huge(HugeSlot slot, FrameGather& gather) noexcept {
  const PageTable::Taken taken = tables_.take_huge(slot);
  if (!taken.kept) return false;
  frames_.drop_block(taken.entry.frame(), gather);
  frames_.drop_table(taken.kept, gather);
  return true;
}

void SoftMmu::mark_freed(Range range) noexcept {
  const Invalidation told(notifiers_, range);
  const auto mark_leaf = [&](const LeafSpan& leaf) {
    const SpinGuard guard(*leaf.lock);
    for (unsigned i = leaf.first; i < leaf.last; i++) {
      const PageEntry entry = leaf.peek(i);
      if (entry.is_anon() && entry.has_counted_frame()) leaf.set(i, entry.freed());
    }
  };
  tables_.for_each_leaf(range, mark_leaf,
                        change_huge(range, [](PageEntry entry) { return entry.freed(); }));
}

// Frames that somebody else shows as well stay, as in Linux.
void SoftMmu::reclaim(const VmaFields& vma, Range range) noexcept {
  const bool may_vanish = vma.flags().has(VmaFlag::droppable);
  FrameGather gather;
  const Invalidation told(notifiers_, range);
  const auto drop_freed = [&](const LeafSpan& leaf) {
    const SpinGuard guard(*leaf.lock);
    for (unsigned i = leaf.first; i < leaf.last; i++) {
      const PageEntry entry = leaf.peek(i);
      if (!entry.is_anon() || !entry.has_counted_frame()) continue;
      if (!(may_vanish || entry.is_freed()) || !frames_.is_sole(entry.frame())) continue;
      leaf.set(i, PageEntry{});
      frames_.drop(entry.frame(), gather);
    }
  };
  tables_.for_each_leaf(range, drop_freed, [&](HugeSlot slot, Range) {
    const PageEntry entry = slot.peek();
    if (entry.is_huge() && !may_vanish && !entry.is_freed()) return true;
    tables_.split(slot);
    return false;
  });
  frames_.retire(gather);
  if (reclaim_ != nullptr) page_out(range, *reclaim_);
}

Result<void> SoftMmu::install_guards(Range range) noexcept {
  const Invalidation told(notifiers_, range);
  FrameGather gather;
  SlotGather slots;
  Result<void> result;
  for (Address at = range.start; at < range.end; at = at + kPageSize) {
    const LeafSlot slot = tables_.ensure(at);
    if (!slot) {
      result = std::unexpected(Error::nomem);
      break;
    }
    const SpinGuard guard(slot.lock());
    const PageEntry entry = slot.peek();
    slot.set(PageEntry::guard());
    drop_entry(entry, gather, slots);
  }
  finish(gather, slots);
  return result;
}

void SoftMmu::remove_guards(Range range) noexcept {
  const auto remove = [&](const LeafSpan& leaf) {
    const SpinGuard guard(*leaf.lock);
    for (unsigned i = leaf.first; i < leaf.last; i++) {
      if (leaf.peek(i).is_guard()) leaf.set(i, PageEntry{});
    }
  };
  tables_.for_each_leaf(range, remove, [](HugeSlot, Range) { return true; });
}

void SoftMmu::residency(const VmaFields& vma, Range range, std::span<uint8_t> to) const noexcept {
  size_t page = 0;
  for (Address at = range.start; at < range.end; at = at + kPageSize, ++page) {
    const PageEntry entry = entry_at(at);
    bool there = entry.is_present();
    if (!there && !entry.is_swap() && !vma.is_anonymous()) {
      there = static_cast<bool>(PageCache::of(*vma.file).find(vma.pgoff_at(at)));
    }
    to[page] = there ? 1 : 0;
  }
}

PageUse SoftMmu::page_use(Range range) const noexcept {
  PageUse use;
  const auto count = [&](const LeafSpan& leaf) {
    for (unsigned i = leaf.first; i < leaf.last; i++) {
      const PageEntry entry = leaf.peek(i);
      if (entry.is_guard()) ++use.guard;
      if (entry.is_swap()) ++use.swapped;
      if (!entry.is_present()) continue;
      ++(entry.is_zero_page() ? use.zero : entry.is_anon() ? use.anonymous : use.file);
    }
  };
  tables_.for_each_leaf(range, count, [&](HugeSlot slot, Range whole) {
    if (!slot.peek().is_huge()) return false;
    const uint64_t pages = whole.intersection(range).pages().value;
    use.anonymous += pages;
    use.huge += pages;
    return true;
  });
  return use;
}

// The pages stay cached, full of zeros: nobody reads the object's bytes again. Their memory is not
// given back.
Result<void> SoftMmu::punch_hole(OpenFile& file, uint64_t first_page, PageCount pages) noexcept {
  static constexpr std::array<std::byte, kPageSize> kZeros{};
  PageCache& cache = PageCache::of(file);
  for (uint64_t i = 0; i < pages.value && cache.has_page(first_page + i); ++i) {
    const PageCache::Page page = cache.get_or_fill(first_page + i);
    if (page.end == PageCache::End::out_of_memory) return std::unexpected(Error::nomem);
    if (page.end != PageCache::End::found) continue;
    store_to_frame(frames_.data(page.frame), kZeros);
    mark_dirty(page.frame);
    FrameGather gather;
    frames_.drop(page.frame, gather);
    frames_.retire(gather);
  }
  return {};
}

void SoftMmu::free_tables(Range span, Range limits) noexcept {
  FrameGather gather;
  tables_.free_range(span, limits, gather);
  frames_.retire(gather);
}

void SoftMmu::protect(Range range, VmaFlags flags) noexcept {
  const Invalidation told(notifiers_, range);
  const Right most = rights_of(flags);
  const auto protect_leaf = [&](const LeafSpan& leaf) {
    const SpinGuard guard(*leaf.lock);
    for (unsigned i = leaf.first; i < leaf.last; i++) {
      const PageEntry entry = leaf.peek(i);
      if (entry.is_present() && !includes(most, entry.rights())) {
        leaf.set(i, entry.limited_to(most));
      }
    }
  };
  tables_.for_each_leaf(range, protect_leaf, change_huge(range, [most](PageEntry entry) {
                          return entry.limited_to(most);
                        }));
}

void SoftMmu::clear_written(Range range) noexcept {
  const Invalidation told(notifiers_, range);
  const auto clean = [](PageEntry entry) {
    return entry.is_dirty() ? entry.limited_to(without_write(entry.rights())).cleaned() : entry;
  };
  const auto clean_leaf = [&](const LeafSpan& leaf) {
    const SpinGuard guard(*leaf.lock);
    for (unsigned i = leaf.first; i < leaf.last; i++) {
      const PageEntry entry = leaf.peek(i);
      if (entry.is_dirty()) leaf.set(i, clean(entry));
    }
  };
  tables_.for_each_leaf(range, clean_leaf, change_huge(range, clean));
}

void SoftMmu::written(Range range, std::span<uint8_t> to) const noexcept {
  std::fill_n(to.begin(), range.pages().value, uint8_t{0});
  const auto tell_leaf = [&](const LeafSpan& leaf) {
    for (unsigned i = leaf.first; i < leaf.last; i++) {
      if (leaf.peek(i).is_dirty()) to[(leaf.address_of(i) - range.start) >> kPageShift] = 1;
    }
  };
  // A huge page is written as a whole.
  tables_.for_each_leaf(range, tell_leaf, [&](HugeSlot slot, Range whole) {
    const PageEntry entry = slot.peek();
    if (!entry.is_huge()) return false;
    const Range part = whole.intersection(range);
    const auto first = static_cast<std::ptrdiff_t>((part.start - range.start) >> kPageShift);
    std::fill_n(to.begin() + first, part.pages().value, uint8_t{entry.is_dirty()});
    return true;
  });
}

// Before entries are looked at without their lock: a speculative fault has set its entry by now, or
// will find that the space's sequence has moved.
static void settle(const LeafSpan& leaf) noexcept { const SpinGuard guard(*leaf.lock); }

Result<void> SoftMmu::move(Range from, Address to) noexcept {
  PERVMA_ASSERT(!from.intersects(Range{to, to + from.bytes()}));
  const Invalidation told(notifiers_, from);
  Result<void> result;
  const auto place_of = [&](Address a) { return to + (a - from.start); };
  const auto move_whole = [&](HugeSlot slot, Range whole) {
    if (!result) return true;
    if (!from.contains(whole) || huge_range(place_of(whole.start)).start != place_of(whole.start)) {
      tables_.split(slot);
      return false;
    }
    const Carried end = move_huge(slot, place_of(whole.start));
    if (end == Carried::out_of_memory) result = std::unexpected(Error::nomem);
    return end != Carried::again;
  };
  const auto move_leaf = [&](const LeafSpan& leaf) {
    settle(leaf);
    for (unsigned i = leaf.first; i < leaf.last && result; i++) {
      const LeafSlot old = leaf.at(i);
      if (old.peek().is_none()) continue;
      const LeafSlot slot = tables_.ensure(place_of(leaf.address_of(i)));
      if (!slot) {
        result = std::unexpected(Error::nomem);
        return;
      }
      // In neither place for a moment: who comes then faults, and waits for the mmap lock.
      PageEntry entry;
      {
        const SpinGuard guard(old.lock());
        entry = old.peek();
        old.set(PageEntry{});
      }
      const bool moved = slot.replace(PageEntry{}, entry);
      PERVMA_ASSERT(moved);  // The destination was not empty.
    }
  };
  tables_.for_each_leaf(from, move_leaf, move_whole);
  return result;
}

Result<void> SoftMmu::copy_to(Mmu& child, const VmaFields& vma) noexcept {
  // Shared pages and pages that were only read come back by faults: nothing of them can be lost.
  // Guard marks can be anywhere.
  const bool only_pages_of_others = vma.is_shared() || vma.anon_vma() == nullptr;
  if (only_pages_of_others && !vma.flags().has(VmaFlag::maybe_guard)) return {};
  const Invalidation told(notifiers_, vma.range);
  auto& mmu = static_cast<SoftMmu&>(child);
  Result<void> result;
  const auto copy = [&](const LeafSpan& leaf) {
    if (result) result = copy_leaf(mmu, leaf);
  };
  tables_.for_each_leaf(vma.range, copy, [&](HugeSlot slot, Range whole) {
    if (!result) return true;
    if (!Range(vma.range).contains(whole)) {
      tables_.split(slot);
      return false;
    }
    const Carried end = share_huge(slot, vma, whole.start, mmu);
    if (end == Carried::out_of_memory) result = std::unexpected(Error::nomem);
    return end != Carried::again;
  });
  return result;
}

Result<void> SoftMmu::copy_leaf(SoftMmu& child, const LeafSpan& leaf) noexcept {
  const auto is_copied = [](PageEntry e) {
    return e.is_guard() || (e.is_present() && e.is_anon()) || e.is_swap();
  };
  settle(leaf);
  unsigned first = leaf.first;
  while (first < leaf.last && !is_copied(leaf.peek(first))) first++;
  if (first == leaf.last) return {};
  // Before the lock: allocation may wait. The child's leaf is seen by nobody yet, and needs none.
  const Address start = leaf.start + (uint64_t{first - leaf.first} << kPageShift);
  const LeafSlot copy = child.tables_.ensure(start);
  if (!copy) return std::unexpected(Error::nomem);
  const SpinGuard guard(*leaf.lock);
  for (unsigned i = first; i < leaf.last; i++) {
    const PageEntry entry = leaf.peek(i);
    if (!is_copied(entry)) continue;
    const PageEntry shared = entry.limited_to(without_write(entry.rights()));
    if (shared != entry) leaf.set(i, shared);
    if (shared.has_counted_frame()) frames_.hold(shared.frame());
    if (shared.is_swap()) swap_->hold(shared.swap_slot());
    PERVMA_DASSERT(copy.ahead(i - first).peek().is_none());
    copy.ahead(i - first).init(shared.opened());  // The child's faults are told to nobody.
  }
  return {};
}

Result<FileRef> SoftMmu::create_shared_memory(uint64_t bytes) noexcept {
  return caches_.create_shared_memory(bytes);
}

}  // namespace pervma

// collapse.cpp: 512 small pages become a huge one; and what becomes of huge entries that move, are
// shared by a fork, or are asked for by the clock.
#include <array>
#include <cstring>

#include "fault/frame_bytes.h"
#include "fault/soft_mmu.h"

namespace pervma {

namespace {

// What may go into a huge page: nothing, and private pages (the page of zeros among them).
constexpr bool may_go_in(PageEntry e) noexcept {
  return e.is_none() || (e.is_present() && e.is_anon() && !e.is_closed());
}

}  // namespace

CollapseProspect SoftMmu::collapse_prospect(Range region) const noexcept {
  using State = CollapseProspect::State;
  CollapseProspect prospect;
  if (tables_.find_huge(region.start)) prospect.state = State::huge;
  const LeafSlot first = tables_.find(region.start);
  if (!first) return prospect;
  prospect.state = State::fit;
  for (unsigned i = 0; i < kBlockFrames; ++i) {
    const PageEntry entry = first.ahead(i).peek();
    if (entry.is_swap()) {
      ++prospect.swapped;
      if (prospect.state == State::fit) prospect.state = State::swapped;
    } else if (!may_go_in(entry)) {
      prospect.state = State::refused;
    } else if (entry.has_counted_frame()) {
      ++prospect.pages;
    }
  }
  return prospect;
}

HugeMemory SoftMmu::alloc_huge() noexcept {
  const Frame table = tables_.alloc_kept();
  if (!table) return {};
  const Frame block = frames_.alloc_block();
  if (!block) tables_.give_back_kept(table);
  return block ? HugeMemory{block.number, table.number} : HugeMemory{};
}

void SoftMmu::free_huge(HugeMemory memory) noexcept {
  frames_.give_back_block({memory.block});
  tables_.give_back_kept({memory.table});
}

// The decision and the emptying of the leaf table are one step under its lock: a store is in an old
// page before, or comes after and faults. So the copy is of pages that stand still. Loads that are
// still in one look at its entry again.
CollapseEnd SoftMmu::collapse(const VmaFields& vma, Address start, HugeMemory memory) noexcept {
  const Invalidation told(notifiers_, huge_range(start));
  const LeafSlot first = tables_.find(start);
  // Somebody else was faster; or the table went with its last page.
  if (!first) return tables_.find_huge(start) ? CollapseEnd::busy : CollapseEnd::unfit;
  std::array<PageEntry, kBlockFrames> old;
  {
    const SpinGuard guard(first.lock());
    for (unsigned i = 0; i < kBlockFrames; ++i) {
      old[i] = first.ahead(i).peek();
      if (!may_go_in(old[i])) return old[i].is_swap() ? CollapseEnd::busy : CollapseEnd::unfit;
    }
    for (unsigned i = 0; i < kBlockFrames; ++i) {
      if (!old[i].is_none()) first.set_ahead(i, PageEntry{});
    }
  }
  bool is_dirty = false;
  bool is_young = false;
  FrameGather gather;
  Mappers* const mappers = vma.mappers();
  const uint64_t pgoff = vma.pgoff_at(start);
  for (unsigned i = 0; i < kBlockFrames; ++i) {
    const Frame part{memory.block + i};
    if (old[i].has_counted_frame()) {
      copy_frame(frames_.bytes(part), frames_.data(old[i].frame()));
      frames_.drop(old[i].frame(), gather);
    } else {
      std::memset(frames_.data(part), 0, kPageSize);
    }
    frames_.set_mappers(part, mappers, pgoff + i);
    is_dirty = is_dirty || old[i].is_dirty();
    is_young = is_young || old[i].is_young();
  }
  // What was not written since one asked last is not written by this.
  const Right rights = rights_of(vma.flags());
  const PageEntry huge = PageEntry::huge({memory.block}, is_dirty ? rights : without_write(rights));
  const HugeSlot slot = tables_.ensure_huge(start);  // Its tables are there.
  tables_.put_huge(slot, is_young ? huge : huge.aged(), {memory.table}, gather);
  frames_.retire(gather);
  return CollapseEnd::collapsed;
}

SoftMmu::Carried SoftMmu::move_huge(HugeSlot from, Address to) noexcept {
  const HugeSlot place = tables_.ensure_huge(to);
  if (!place) return Carried::out_of_memory;
  // A leaf table of earlier pages: they go in one by one.
  if (!place.load().is_none()) {
    tables_.split(from);
    return Carried::again;
  }
  // In neither place for a moment, as small pages.
  const PageTable::Taken taken = tables_.take_huge(from);
  if (!taken.kept) return Carried::again;
  FrameGather gather;
  tables_.put_huge(place, taken.entry, taken.kept, gather);
  return Carried::done;
}

// Both sides show the same frames, and neither may write them. Who comes from a frame meets both
// entries as they were, or both as they are: not the one of the parent alone.
SoftMmu::Carried SoftMmu::share_huge(HugeSlot from, const VmaFields& vma, Address start,
                                     SoftMmu& child) noexcept {
  const HugeSlot place = child.tables_.ensure_huge(start);
  if (!place) return Carried::out_of_memory;
  if (!place.load().is_none()) {
    tables_.split(from);
    return Carried::again;
  }
  const Frame kept = tables_.alloc_kept();
  if (!kept) return Carried::out_of_memory;
  const MappersGuard no_goer(vma.mappers());
  PageEntry shared;
  {
    const SpinGuard guard(from.lock());
    const PageEntry entry = from.peek();
    if (entry.is_huge()) {
      shared = entry.limited_to(without_write(entry.rights()));
      frames_.hold_block(shared.frame());
      if (shared != entry) from.set(shared);
    }
  }
  if (!shared.is_huge()) {
    tables_.give_back_kept(kept);
    return Carried::again;
  }
  FrameGather gather;
  child.tables_.put_huge(place, shared, kept, gather);
  return Carried::done;
}

// The clock passes all frames of a huge page: it asks once, at the first, and takes it small page
// by small page when it was not used since.
bool SoftMmu::stays_huge(Address a, Frame frame, Clock clock) const noexcept {
  const HugeSlot slot = tables_.find_huge(a);
  if (!slot) return false;
  const SpinGuard guard(slot.lock());
  const PageEntry entry = slot.peek();
  if (!entry.is_huge() || entry.part(a.page() % kBlockFrames).frame() != frame) return false;
  if (clock != Clock::asks) return clock == Clock::leaves;
  if (frame != entry.frame()) return true;
  if (!entry.is_young()) return false;
  slot.set(entry.aged());
  return true;
}

}  // namespace pervma

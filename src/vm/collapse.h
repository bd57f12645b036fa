// collapse.h: MADV_COLLAPSE, and the steps of a background collapser: 2 MiB of small pages become
// one huge page.
//
// Memory is had without any lock. Then the mmap lock is taken for write and the VMA write-locked,
// and only after that its entries are read for the decision (rule R13): until then a fault, or an
// advice that drops pages, may be at work under the VMA's read lock. Whoever comes from a frame is
// kept out by the lock of the VMA's mappers.
#pragma once

#include "vm/advise.h"
#include "vm/huge_pages.h"

namespace pervma {

// Makes [start, start + 2 MiB) one page. Holds no lock at its call and its end.
template <VmaLockDesign L>
CollapseEnd BasicAddressSpace<L>::collapse_one(Address start, CollapseWish wish,
                                               const std::stop_token& stop) noexcept {
  const Range region{start, start + kHugePageSize};
  const auto fits = [&](const VmaT* v) {
    return v != nullptr && Range(v->range).contains(region) && may_hold_huge_pages(*v, wish);
  };
  CollapseProspect prospect;
  {
    const std::optional<MmapRead> read = MmapRead::lock_killable(mm_, stop);
    if (!read) return CollapseEnd::interrupted;
    if (!fits(vma_at(start))) return CollapseEnd::gone;
    prospect = mmu_.collapse_prospect(region);
  }
  switch (prospect.state) {
    case CollapseProspect::State::huge: return CollapseEnd::collapsed;
    case CollapseProspect::State::refused: return CollapseEnd::unfit;
    case CollapseProspect::State::swapped:
      for (Address page = start; page < region.end; page = page + kPageSize) {
        if (!mmu_.is_swapped(page)) continue;
        const FaultOutcome outcome = handle_fault(page, Access::read, FaultOrigin::kernel, stop);
        if (outcome == FaultOutcome::interrupted) return CollapseEnd::interrupted;
        if (outcome != FaultOutcome::resolved) return CollapseEnd::unfit;
      }
      break;
    case CollapseProspect::State::fit: break;
  }
  const HugeMemory memory = mmu_.alloc_huge();
  if (!memory) return CollapseEnd::out_of_memory;
  const CollapseEnd end = [&] {
    std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
    if (!write) return CollapseEnd::interrupted;
    mm_.assert_held_write();
    VmaT* const v = vma_at(start);
    if (!fits(v)) return CollapseEnd::gone;
    if (!v->lock_write(mm_, stop)) return CollapseEnd::interrupted;
    const MappersGuard guard(v->joined());
    return mmu_.collapse(*v, start, memory);
  }();
  if (end != CollapseEnd::collapsed) mmu_.free_huge(memory);
  return end;
}

// The part of one VMA. As Linux: a range without a whole huge page is well, unless it is inside one
// and touches no boundary; the first place that cannot be ends it only when the map has changed.
template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::collapse_part(Range part, const std::stop_token& stop) noexcept {
  const Address first = huge_page_up(part.start);
  const Address end = huge_page_down(part.end);
  if (first > end) return std::unexpected(Error::inval);
  Result<void> result;
  for (Address at = first; at < end; at = at + kHugePageSize) {
    switch (collapse_one(at, CollapseWish::asked_for, stop)) {
      case CollapseEnd::collapsed: break;
      case CollapseEnd::unfit: result = std::unexpected(Error::inval); break;
      case CollapseEnd::busy: result = std::unexpected(Error::again); break;
      case CollapseEnd::gone: return std::unexpected(Error::inval);
      case CollapseEnd::out_of_memory: return std::unexpected(Error::nomem);
      case CollapseEnd::interrupted: return std::unexpected(Error::intr);
    }
  }
  return result;
}

// VMA after VMA, with no lock held in between.
template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::advise_collapse(Range range,
                                                   const std::stop_token& stop) noexcept {
  bool met_hole = false;
  for (Address at = range.start; at < range.end;) {
    Range part{};
    {
      const std::optional<MmapRead> read = MmapRead::lock_killable(mm_, stop);
      if (!read) return std::unexpected(Error::intr);
      const VmaT* const v = vma_from(at);
      if (v == nullptr) return std::unexpected(Error::nomem);
      if (v->start() > at) met_hole = true;
      if (v->start() >= range.end) break;
      part = v->range.intersection({at, range.end});
      if (options_.huge_pages == HugePages::refused ||
          !may_hold_huge_pages(*v, CollapseWish::asked_for)) {
        return std::unexpected(Error::inval);
      }
    }
    if (Result<void> done = collapse_part(part, stop); !done) return done;
    at = part.end;
  }
  if (met_hole) return std::unexpected(Error::nomem);
  return {};
}

// Looks at the places of huge pages from `from` on, at most `looks` of them, and makes the first
// one huge that is wanted so and filled well enough. Gives way to whoever has the mmap lock.
template <VmaLockDesign L>
CollapseScan BasicAddressSpace<L>::scan_for_collapse(Address from, unsigned looks) noexcept {
  CollapseScan scan{options_.top};
  if (options_.huge_pages == HugePages::refused) return scan;
  const CollapseWish wish =
      options_.huge_pages == HugePages::always ? CollapseWish::any : CollapseWish::advised;
  std::optional<Address> found;
  {
    const std::optional<MmapRead> read = MmapRead::try_lock(mm_);
    if (!read) return {from};
    unsigned passed = 0;
    for (const VmaT* v = vma_from(from); v != nullptr; v = vma_from(v->end())) {
      if (++passed > 64 * looks) {
        scan.next = v->start();
        return scan;
      }
      if (!may_hold_huge_pages(*v, wish)) continue;
      Address at = huge_page_up(from > v->start() ? from : v->start());
      for (; at < v->end() && v->end() - at >= kHugePageSize; at = at + kHugePageSize) {
        if (scan.looked == looks) {
          scan.next = at;
          return scan;
        }
        ++scan.looked;
        if (!is_worth_collapsing(mmu_.collapse_prospect({at, at + kHugePageSize}))) continue;
        found = at;
        break;
      }
      if (found) break;
    }
  }
  if (!found) return scan;
  scan.next = *found + kHugePageSize;
  scan.collapsed = collapse_one(*found, wish, {}) == CollapseEnd::collapsed;
  return scan;
}

}  // namespace pervma

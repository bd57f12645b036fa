// zero_copy.cpp: the caller's pages become a mapping's, without a copy.
#include "fault/soft_mmu.h"

namespace pervma {

// All tables first: nothing has changed when one cannot be had.
SoftMmu::Insertion SoftMmu::insert(const VmaFields& vma, Address at,
                                   std::span<PageBuffer> pages) noexcept {
  PERVMA_DASSERT(vma.is_anonymous() && vma.anon_vma() != nullptr);
  const Range range{at, at + pages.size() * kPageSize};
  for (Address a = at; a < range.end; a = PageTable::next_leaf(a)) {
    if (!tables_.ensure(a)) return {Error::nomem, 0};
  }
  const Right rights = rights_of(vma.flags());
  Mappers* const mappers = vma.mappers();
  const Invalidation told(notifiers_, range);
  FrameGather gather;
  SlotGather slots;
  Insertion result{};
  tables_.for_each_leaf(range, [&](const LeafSpan& leaf) {
    const SpinGuard guard(*leaf.lock);
    for (unsigned i = leaf.first; i < leaf.last && !result.error; i++) {
      const PageEntry old = leaf.peek(i);
      if (old.is_guard()) {
        result.error = Error::fault;
        return;
      }
      PageBuffer& page = pages[result.done++];
      const Frame frame{page.frame()};
      frames_.set_mappers(frame, mappers, vma.pgoff_at(leaf.address_of(i)));
      leaf.set(i, PageEntry::page(frame, PageKind::anon, rights));
      page.release();
      drop_entry(old, gather, slots);
    }
  });
  finish(gather, slots);
  return result;
}

}  // namespace pervma

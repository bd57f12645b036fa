// reverse_map.cpp: what is done to pages coming from their frames: through every mapping of them,
// in whatever space, under the lock of their mappers and no lock of a space.
#include <array>
#include <mutex>

#include "fault/frame_bytes.h"
#include "fault/soft_mmu.h"
#include "sync/rcu.h"

namespace pervma {

void SoftMmu::unmap_beyond_end(PageCache& cache) noexcept {
  Mappers* const mappers = cache.mappers();
  if (mappers == nullptr) return;
  const uint64_t size = cache.object().size();
  const uint64_t first = (size >> kPageShift) + ((size & kPageMask) != 0 ? 1 : 0);
  const MappersGuard guard(mappers);
  mappers->for_each(first, ~uint64_t{0} - first,
                    [](Mmu& mmu, Range part, VmaFlags) { mmu.discard(part); });
}

void SoftMmu::write_protect_all(PageCache& cache, uint64_t index) noexcept {
  Mappers* const mappers = cache.mappers();
  if (mappers == nullptr) return;
  const MappersGuard guard(mappers);
  mappers->for_each(index, 1, [](Mmu& space, Range page, VmaFlags) {
    const auto& mmu = static_cast<SoftMmu&>(space);
    const Invalidation told(mmu.notifiers_, page);
    const LeafSlot slot = mmu.tables_.find(page.start);
    if (!slot) return;
    const SpinGuard leaf(slot.lock());
    const PageEntry entry = slot.peek();
    // A private copy is nobody's business.
    if (!entry.is_present() || entry.is_anon() || !entry.allows(Right::write)) return;
    slot.set(entry.limited_to(without_write(entry.rights())));
  });
}

// A page is clean from the moment before its mappings lose the right to write: a store that comes
// later makes it dirty again, one that came earlier is in what is given away.
Result<void> SoftMmu::write_back(OpenFile& file, uint64_t first_page, PageCount pages) noexcept {
  PageCache& cache = PageCache::of(file);
  const std::scoped_lock one_at_a_time(cache.write_back_mutex());
  Result<void> result;
  cache.for_each(first_page, pages.value, [&](uint64_t index, Frame frame) {
    std::atomic<uint32_t>& dirty = frames_.meta(frame).dirty;
    if (dirty.load(std::memory_order_relaxed) == 0 || !cache.has_page(index)) return;
    FrameWord::take_dirty(dirty);
    write_protect_all(cache, index);
    std::array<std::byte, kPageSize> bytes;
    copy_frame(bytes, frames_.data(frame));
    if (!cache.object().write_page(index, bytes)) {
      mark_dirty(frame);
      result = std::unexpected(Error::io);
    }
  });
  return result;
}

// Every page of the VMA leads back to it.
const char* SoftMmu::check(const VmaFields& vma) const noexcept {
  const char* wrong = nullptr;
  const MappersGuard quiet(vma.mappers());  // No page is on its way to the store.
  const auto check_page = [&](Frame frame, Address at) {
    const FrameMeta& meta = frames_.meta(frame);
    if (meta.refs.load(std::memory_order_relaxed) == 0) wrong = "an entry for a free frame";
    if (meta.mappers.load(std::memory_order_relaxed) != vma.mappers()) {
      wrong = "a page of somebody else's";
    } else if (meta.index.load(std::memory_order_relaxed) != vma.pgoff_at(at)) {
      wrong = "a page with another's number";
    }
  };
  const auto check_leaf = [&](const LeafSpan& leaf) {
    const SpinGuard guard(*leaf.lock);
    for (unsigned i = leaf.first; i < leaf.last; i++) {
      const PageEntry entry = leaf.peek(i);
      if (entry.is_huge()) wrong = "a huge entry among the small";
      if (entry.has_counted_frame()) check_page(entry.frame(), leaf.address_of(i));
    }
  };
  tables_.for_each_leaf(vma.range, check_leaf, [&](HugeSlot slot, Range whole) {
    const SpinGuard guard(slot.lock());
    const PageEntry entry = slot.peek();
    if (!entry.is_huge()) return false;
    if (slot.kept() == 0) wrong = "no table kept for a huge entry";
    if (entry.frame().number % kBlockFrames != 0) wrong = "a huge page out of its place";
    const Range part = whole.intersection(vma.range);
    for (Address at = part.start; at < part.end; at = at + kPageSize) {
      check_page(entry.part(at.page() % kBlockFrames).frame(), at);
    }
    return true;
  });
  return wrong;
}

}  // namespace pervma

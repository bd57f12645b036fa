// file_fault.cpp: the first touch of a page of a backing object, shared anonymous memory included.
#include <algorithm>

#include "fault/frame_bytes.h"
#include "fault/soft_mmu.h"

namespace pervma {

namespace {

constexpr uint64_t kAround = 16 * kPageSize;

// From an aligned place, or from where the VMA begins; within one table.
Range around_of(const FaultRequest& fault) noexcept {
  const Range whole = fault.vma.range;
  const Address aligned{fault.address.value & ~(kAround - 1)};
  const Address start = std::max(aligned, whole.start);
  return whole.intersection({start, std::min(start + kAround, PageTable::next_leaf(start))});
}
std::ptrdiff_t pages_between(Address from, Address to) noexcept {
  return static_cast<std::ptrdiff_t>(to.page()) - static_cast<std::ptrdiff_t>(from.page());
}

}  // namespace

// A cache as it was before its object's size was looked at. Asked again under the lock of the table
// that gets the entry (page_cache.h).
struct SoftMmu::CacheMoment {
  explicit CacheMoment(PageCache& c) noexcept : cache(c), truncations(c.truncations()) {}
  bool lasts() const noexcept { return cache.truncations() == truncations; }

  PageCache& cache;
  const uint32_t truncations;
};

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
  const CacheMoment moment(cache);
  if (!cache.has_page(index)) return FaultStep::bus_error;
  Frame cached = cache.find_held(index);
  if (!cached) {
    const bool waits = vma.file->object().vma_lock_safety() != VmaLockSafety::memory;
    if (waits && fault.hold != FaultHold::mmap_lock_may_wait) return FaultStep::must_wait;
    const PageCache::Page page = cache.get_or_fill(index, fault.stop_token());
    if (page.end == PageCache::End::interrupted) return FaultStep::interrupted;
    if (page.end == PageCache::End::unreadable) return FaultStep::bus_error;
    if (page.end == PageCache::End::out_of_memory) return FaultStep::out_of_memory;
    cached = page.frame;
  }
  return copies ? install_copy(fault, slot, cached, moment)
                : map_cached(fault, slot, cached, moment);
}

// Puts a copy of a held page of the cache into the entry.
SoftMmu::Step SoftMmu::install_copy(const FaultRequest& fault, LeafSlot slot, Frame cached,
                                    const CacheMoment& moment) noexcept {
  const VmaFields& vma = fault.vma;
  const FrameHold original(frames_, cached);
  const Frame own = frames_.alloc(FrameUse::page, Fill::none);
  if (!own) return FaultStep::out_of_memory;
  copy_frame(frames_.bytes(own), frames_.data(cached));
  frames_.set_mappers(own, vma.mappers(), vma.pgoff_at(fault.address));
  FrameHold copy(frames_, own);
  const SpinGuard guard(slot.lock());
  if (!slot.peek().is_none() || !moment.lasts()) return {};
  slot.set(PageEntry::page(own, PageKind::anon, rights_of(vma.flags())));
  copy.release();
  return FaultStep::resolved;
}

// Puts a held page of the cache into the entry, and its neighbours beside it.
SoftMmu::Step SoftMmu::map_cached(const FaultRequest& fault, LeafSlot slot, Frame cached,
                                  const CacheMoment& moment) noexcept {
  const VmaFields& vma = fault.vma;
  const bool writes = fault.access == Access::write;
  // Writable only once it is written: the first store to a page is something to know.
  const Right rights = rights_of(vma.flags());
  if (!map_one(slot, cached, writes ? rights : without_write(rights), moment)) return {};
  // Not where the embedder is told of pages that the object has, or closes them.
  constexpr auto kMissing = UserFaultModes::missing;
  const bool alone = includes(kMissing, vma.user_modes());
  if (!writes && alone && may_ask_under_vma_lock(vma)) map_around(fault, slot, moment);
  return FaultStep::resolved;
}

// Gives the reference to the entry if there is none yet.
bool SoftMmu::map_one(LeafSlot slot, Frame held, Right rights, const CacheMoment& moment) noexcept {
  {
    const SpinGuard guard(slot.lock());
    if (slot.peek().is_none() && moment.lasts()) {
      slot.set(PageEntry::page(held, PageKind::file, rights));
      if (includes(rights, Right::write)) mark_dirty(held);
      return true;
    }
  }
  const FrameHold unused(frames_, held);
  return false;
}

// What is cached already costs no more than a look: a page that is read is seldom read alone.
void SoftMmu::map_around(const FaultRequest& fault, LeafSlot slot,
                         const CacheMoment& moment) noexcept {
  const VmaFields& vma = fault.vma;
  const PageCache& cache = moment.cache;
  const Right rights = without_write(rights_of(vma.flags()));
  const Range around = around_of(fault);
  const uint64_t pages = cache.pages();  // Asked once: it may be a system call.
  for (Address at = around.start; at < around.end; at = at + kPageSize) {
    const LeafSlot other = slot.ahead(pages_between(fault.address, at));
    if (!other.peek().is_none() || vma.pgoff_at(at) >= pages) continue;
    if (const Frame held = cache.find_held(vma.pgoff_at(at)))
      (void)map_one(other, held, rights, moment);
  }
}

}  // namespace pervma

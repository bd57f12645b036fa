// user_copy.cpp: the embedder brings pages to where none are: his bytes, zeros, what the object
// has, or pages from another place.
#include <utility>

#include "fault/soft_mmu.h"

namespace pervma {

SoftMmu::Insertion SoftMmu::fill(const VmaFields& vma, const Fillment& f) noexcept {
  Insertion result{};
  for (; result.done < f.pages; ++result.done) {
    const Address at = f.at + result.done * kPageSize;
    Frame* const frame = f.with == Filling::frames ? &f.frames[result.done] : nullptr;
    result.error =
        vma.is_anonymous() ? fill_private(vma, at, f, frame) : fill_shared(vma, at, f, frame);
    if (result.error) break;
  }
  return result;
}

// `frame`: null for the page of zeros.
std::optional<Error> SoftMmu::fill_private(const VmaFields& vma, Address at, const Fillment& f,
                                           Frame* frame) noexcept {
  PERVMA_DASSERT(vma.anon_vma() != nullptr);
  const LeafSlot slot = tables_.ensure(at);
  if (!slot) return Error::nomem;
  const Right rights = rights_of(vma.flags());
  PageEntry entry = PageEntry::page(kZeroFrame, PageKind::anon, without_write(rights));
  if (frame != nullptr) entry = PageEntry::page(*frame, PageKind::anon, rights);
  if (f.closed) entry = entry.closed();
  const SpinGuard guard(slot.lock());
  const PageEntry old = slot.peek();
  // As in Linux a page of bytes takes the place of any mark, the page of zeros of none.
  const bool takes_marks = frame != nullptr && (old.is_closed_mark() || old.is_guard());
  if (!old.is_none() && !takes_marks) return Error::exist;
  // Only now: a frame that has its mappers may not be given back at once.
  if (frame != nullptr) frames_.set_mappers(*frame, vma.mappers(), vma.pgoff_at(at));
  slot.set(entry);
  if (frame != nullptr) *frame = {};
  return std::nullopt;
}

// The page comes into the object's cache, for all who map it, and then into this mapping.
std::optional<Error> SoftMmu::fill_shared(const VmaFields& vma, Address at, const Fillment& f,
                                          Frame* frame) noexcept {
  PageCache& cache = PageCache::of(*vma.file);
  const uint64_t index = vma.pgoff_at(at);
  const uint32_t truncations = cache.truncations();
  const LeafSlot slot = tables_.ensure(at);
  if (!slot) return Error::nomem;
  if (!cache.has_page(index)) return f.with == Filling::cached ? Error::inval : Error::fault;
  Frame found;
  if (f.with == Filling::cached) {
    found = cache.find_held(index);
    if (!found) return Error::fault;
  } else {
    found =
        frame != nullptr ? std::exchange(*frame, {}) : frames_.alloc(FrameUse::page, Fill::zero);
    if (!found) return Error::nomem;
    frames_.hold(found);  // The entry's; the other is the cache's.
    const PageCache::Put put = cache.put(index, found);
    if (put != PageCache::Put::done) {
      const FrameHold entrys(frames_, found);
      const FrameHold caches(frames_, found);
      return put == PageCache::Put::there ? Error::exist : Error::nomem;
    }
    mark_dirty(found);  // The object does not have these bytes.
  }
  FrameHold held(frames_, found);
  PageEntry entry = PageEntry::page(found, PageKind::file, rights_of(vma.flags()));
  if (f.closed) entry = entry.closed();
  const SpinGuard guard(slot.lock());
  const PageEntry old = slot.peek();
  if (!old.is_none() && !old.is_closed_mark() && !old.is_guard()) return Error::exist;
  // Under this lock: a truncation finds the entry, or is seen (page_cache.h).
  if (cache.truncations() != truncations) return Error::fault;
  slot.set(entry);
  if (entry.allows(Right::write)) mark_dirty(found);
  held.release();
  return std::nullopt;
}

namespace {

// The locks of two tables, which may be one, in the order of their places.
class TwoTables {
 public:
  TwoTables(SpinLock& a, SpinLock& b) noexcept PERVMA_NO_ANALYSIS : first_(&a < &b ? a : b),
                                                                    second_(&a < &b ? b : a) {
    first_.lock();
    if (&first_ != &second_) second_.lock();
  }
  ~TwoTables() PERVMA_NO_ANALYSIS {
    if (&first_ != &second_) second_.unlock();
    first_.unlock();
  }
  TwoTables(const TwoTables&) = delete;
  TwoTables& operator=(const TwoTables&) = delete;

 private:
  SpinLock& first_;
  SpinLock& second_;
};

}  // namespace

SoftMmu::Insertion SoftMmu::move_pages(const PageMove& m) noexcept {
  const Invalidation told(notifiers_, {m.from, m.from + m.pages * kPageSize});
  // Who comes from a frame waits, and then finds it where it leads to.
  const MappersGuard guard(m.from_vma.mappers());
  Insertion result{};
  for (; result.done < m.pages; ++result.done) {
    const uint64_t at = result.done * kPageSize;
    result.error = move_page(m, m.to + at, m.from + at);
    if (result.error) break;
  }
  return result;
}

// Both entries change together: a fault would find the page in neither place, and make another.
std::optional<Error> SoftMmu::move_page(const PageMove& m, Address to,
                                        Address from) noexcept PERVMA_NO_ANALYSIS {
  const LeafSlot target = tables_.ensure(to);
  if (!target) return Error::nomem;
  // As in Linux the destination is looked at first, unless there is no table to move from.
  LeafSlot source = tables_.find_split(from);
  if (!source) {
    if (!m.over_holes) return Error::noent;
    source = tables_.ensure(from);
    if (!source) return Error::nomem;
  }
  const Right rights = rights_of(m.to_vma.flags());
  const TwoTables locked(source.lock(), target.lock());
  if (!target.peek().is_none()) return Error::exist;
  const PageEntry entry = source.peek();
  if (entry.is_none()) return m.over_holes ? std::nullopt : std::optional(Error::noent);
  PageEntry moved;
  if (entry.is_swap()) {
    // Whose page it is, is said when it comes back.
    if (!swap_->is_sole(entry.swap_slot())) return Error::busy;
    moved = entry.opened();
  } else if (entry.is_zero_page()) {
    moved = PageEntry::page(kZeroFrame, PageKind::anon, without_write(rights));
  } else if (entry.is_present() && entry.is_anon()) {
    // A fork's other side shows it too, or somebody is at work on it.
    if (!frames_.is_sole(entry.frame())) return Error::busy;
    frames_.set_mappers(entry.frame(), m.to_vma.mappers(), m.to_vma.pgoff_at(to));
    moved = PageEntry::page(entry.frame(), PageKind::anon, rights);
  } else {
    return Error::fault;  // A guard, or the mark of a page that is not there.
  }
  source.set(PageEntry{});
  target.set(moved);
  return std::nullopt;
}

}  // namespace pervma

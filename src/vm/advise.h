// advise.h: madvise. Advice that changes flags splits and merges under the mmap lock for write; advice
// that drops pages needs one VMA's read lock, or the mmap lock for read; the rest are hints.
#pragma once

#include "vm/vma_edit.h"

namespace pervma {

enum class AdviceKind : uint8_t { unknown, flags, pages, populate, hint, refused };

constexpr AdviceKind kind_of(Advice advice) noexcept {
  switch (advice) {
    case Advice::normal:
    case Advice::random:
    case Advice::sequential:
    case Advice::dontfork:
    case Advice::dofork:
    case Advice::mergeable:
    case Advice::unmergeable:
    case Advice::hugepage:
    case Advice::nohugepage:
    case Advice::dontdump:
    case Advice::dodump:
    case Advice::wipeonfork:
    case Advice::keeponfork:
      return AdviceKind::flags;
    case Advice::dontneed:
    case Advice::dontneed_locked:
    case Advice::free:
      return AdviceKind::pages;
    case Advice::willneed:
    case Advice::cold:
    case Advice::pageout:
      return AdviceKind::hint;
    default:
      return AdviceKind::unknown;
  }
}

// The flags that a VMA has after a flag-changing advice, or how Linux refuses it.
inline Result<VmaFlags> advised_flags(const VmaFields& v, Advice advice) noexcept {
  const VmaFlags f = v.flags();
  constexpr VmaFlags kUnmergeableKsm = VmaFlags(VmaFlag::shared) | VmaFlag::may_share |
                                       VmaFlag::pfnmap | VmaFlag::io | VmaFlag::dont_expand |
                                       VmaFlag::mixedmap | VmaFlag::droppable;
  switch (advice) {
    case Advice::normal:
      return f & ~(VmaFlags(VmaFlag::random) | VmaFlag::sequential);
    case Advice::random:
      return (f & ~VmaFlags(VmaFlag::sequential)) | VmaFlag::random;
    case Advice::sequential:
      return (f & ~VmaFlags(VmaFlag::random)) | VmaFlag::sequential;
    case Advice::dontfork:
      return f | VmaFlag::dont_copy;
    case Advice::dofork:
      if (f.has(VmaFlag::io)) return std::unexpected(Error::inval);
      return f & ~VmaFlags(VmaFlag::dont_copy);
    case Advice::wipeonfork:
      if (!v.is_anonymous() || f.has(VmaFlag::shared)) return std::unexpected(Error::inval);
      return f | VmaFlag::wipe_on_fork;
    case Advice::keeponfork:
      if (f.has(VmaFlag::droppable)) return std::unexpected(Error::inval);
      return f & ~VmaFlags(VmaFlag::wipe_on_fork);
    case Advice::dontdump:
      return f | VmaFlag::dont_dump;
    case Advice::dodump:
      if (f.has_any(kSpecialFlags | VmaFlag::droppable)) return std::unexpected(Error::inval);
      return f & ~VmaFlags(VmaFlag::dont_dump);
    case Advice::hugepage:
      if (f.has_any(kSpecialFlags)) return std::unexpected(Error::inval);
      return (f & ~VmaFlags(VmaFlag::nohugepage)) | VmaFlag::hugepage;
    case Advice::nohugepage:
      if (f.has_any(kSpecialFlags)) return std::unexpected(Error::inval);
      return (f & ~VmaFlags(VmaFlag::hugepage)) | VmaFlag::nohugepage;
    case Advice::mergeable:
      return f.has_any(kUnmergeableKsm) ? f : f | VmaFlag::mergeable;
    case Advice::unmergeable:
      return f & ~VmaFlags(VmaFlag::mergeable);
    default:
      return std::unexpected(Error::inval);
  }
}

// Holes are passed over and reported at the end.
template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::advise_flags(Range range, Advice advice,
                                                const std::stop_token& stop) noexcept {
  std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
  if (!write) return std::unexpected(Error::intr);
  mm_.assert_held_write();
  bool met_hole = false;
  for (Address at = range.start; at < range.end;) {
    VmaT* v = vma_from(at);
    if (v == nullptr) return std::unexpected(Error::nomem);
    if (v->start() > at) {
      met_hole = true;
      at = v->start();
      if (at >= range.end) break;
    }
    const Range part{at, v->end() < range.end ? v->end() : range.end};
    const Result<VmaFlags> flags = advised_flags(*v, advice);
    if (!flags) return std::unexpected(flags.error());
    at = part.end;
    if (*flags == v->flags()) continue;
    if (!reserve({2, 2})) return std::unexpected(Error::again);
    const Result<VmaT*> changed = modify(*v, part, *flags, v->name);
    if (!changed) return std::unexpected(Error::again);
    (*changed)->reset_flags(mm_, *flags | ((*changed)->flags() & kStickyFlags));
  }
  if (met_hole) return std::unexpected(Error::nomem);
  return {};
}

// What dontneed, dontneed_locked and free do inside one VMA, which some lock keeps.
template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::advise_pages_of(const VmaT& v, Range range,
                                                   Advice advice) noexcept {
  VmaFlags refused = VmaFlags(VmaFlag::pfnmap) | VmaFlag::special;
  if (advice != Advice::dontneed_locked) refused |= VmaFlag::locked;
  if (v.flags().has_any(refused)) return std::unexpected(Error::inval);
  if (advice == Advice::free) {
    // Formally the bytes may stay or become zero; without memory pressure they stay.
    if (!v.is_anonymous()) return std::unexpected(Error::inval);
    return {};
  }
  mmu_.zap(range);
  return {};
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::advise_pages(Range range, Advice advice,
                                                const std::stop_token& stop) noexcept {
  // The common case: the range lies in one VMA.
  if (const Lookup found = lock_vma_under_rcu(range.start); found.end == LookupEnd::locked) {
    if (range.end <= found.vma->end()) {
      const Result<void> done = advise_pages_of(*found.vma, range, advice);
      end_read(*found.vma, found.token);
      return done;
    }
    end_read(*found.vma, found.token);
  }
  std::optional<MmapRead> read = MmapRead::lock_killable(mm_, stop);
  if (!read) return std::unexpected(Error::intr);
  bool met_hole = false;
  for (Address at = range.start; at < range.end;) {
    const VmaT* v = vma_from(at);
    if (v == nullptr) return std::unexpected(Error::nomem);
    if (v->start() > at) {
      met_hole = true;
      at = v->start();
      if (at >= range.end) break;
    }
    const Range part{at, v->end() < range.end ? v->end() : range.end};
    if (Result<void> done = advise_pages_of(*v, part, advice); !done) return done;
    at = part.end;
  }
  if (met_hole) return std::unexpected(Error::nomem);
  return {};
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::advise(Address start, uint64_t length, Advice advice,
                                          const std::stop_token& stop) {
  const AdviceKind kind = kind_of(advice);
  if (kind == AdviceKind::unknown) return std::unexpected(Error::inval);
  if (!start.is_page_aligned()) return std::unexpected(Error::inval);
  const uint64_t bytes = page_align_up(length).value_or(0);
  if (length != 0 && bytes == 0) return std::unexpected(Error::inval);
  const Range range{start, start + bytes};
  if (range.end < range.start) return std::unexpected(Error::inval);
  if (range.empty()) return {};
  switch (kind) {
    case AdviceKind::flags:
      return advise_flags(range, advice, stop);
    default:
      return advise_pages(range, advice, stop);
  }
}

}  // namespace pervma

// advice_rules.h: what each advice of madvise needs and refuses: pure functions of values.
#pragma once

#include "vm/vma_rules.h"

namespace pervma {

enum class AdviceKind : uint8_t {
  unknown,
  flags,     // changes flags: mmap lock for write
  pages,     // drops or changes entries inside one VMA: its read lock, or the mmap lock for read
  hint,      // the mmap lock for read
  guard,     // puts guard marks: mmap lock for write, because it marks the VMA
  populate,  // no lock between pages
  collapse,  // the mmap lock for write, for each huge page
  poison,    // hurts memory on purpose: refused
};

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
    case Advice::keeponfork: return AdviceKind::flags;
    case Advice::dontneed:
    case Advice::dontneed_locked:
    case Advice::free:
    case Advice::guard_remove: return AdviceKind::pages;
    case Advice::willneed:
    case Advice::cold:
    case Advice::pageout:
    case Advice::remove: return AdviceKind::hint;
    case Advice::collapse: return AdviceKind::collapse;
    case Advice::guard_install: return AdviceKind::guard;
    case Advice::populate_read:
    case Advice::populate_write: return AdviceKind::populate;
    case Advice::hwpoison:
    case Advice::soft_offline: return AdviceKind::poison;
  }
  return AdviceKind::unknown;
}

// Anonymous memory that is sealed and may not be written may not be thrown away either. (Of a
// file's private mapping Linux lets even what was written go.)
inline bool seal_refuses(const VmaFields& v, Advice advice) noexcept {
  const VmaFlags f = v.flags();
  if (!f.has(VmaFlag::sealed) || !v.is_anonymous() || f.has(VmaFlag::write)) return false;
  switch (advice) {
    case Advice::free:
    case Advice::dontneed:
    case Advice::dontneed_locked:
    case Advice::remove:
    case Advice::dontfork:
    case Advice::wipeonfork:
    case Advice::guard_install: return true;
    default: return false;
  }
}

// The flags that a VMA has after a flag-changing advice, or how Linux refuses it.
inline Result<VmaFlags> advised_flags(const VmaFields& v, Advice advice) noexcept {
  const VmaFlags f = v.flags();
  constexpr VmaFlags kNeverDeduplicated =
      kSpecialFlags | VmaFlag::shared | VmaFlag::may_share | VmaFlag::droppable;
  switch (advice) {
    case Advice::normal: return f & ~(VmaFlags(VmaFlag::random) | VmaFlag::sequential);
    case Advice::random: return (f & ~VmaFlags(VmaFlag::sequential)) | VmaFlag::random;
    case Advice::sequential: return (f & ~VmaFlags(VmaFlag::random)) | VmaFlag::sequential;
    case Advice::dontfork: return f | VmaFlag::dont_copy;
    case Advice::dofork: return f & ~VmaFlags(VmaFlag::dont_copy);
    case Advice::wipeonfork:
      if (!v.is_anonymous()) return std::unexpected(Error::inval);
      return f | VmaFlag::wipe_on_fork;
    case Advice::keeponfork:
      if (f.has(VmaFlag::droppable)) return std::unexpected(Error::inval);
      return f & ~VmaFlags(VmaFlag::wipe_on_fork);
    case Advice::dontdump: return f | VmaFlag::dont_dump;
    case Advice::dodump:
      if (f.has_any(kSpecialFlags | VmaFlag::droppable)) return std::unexpected(Error::inval);
      return f & ~VmaFlags(VmaFlag::dont_dump);
    case Advice::hugepage: return (f & ~VmaFlags(VmaFlag::nohugepage)) | VmaFlag::hugepage;
    case Advice::nohugepage: return (f & ~VmaFlags(VmaFlag::hugepage)) | VmaFlag::nohugepage;
    case Advice::mergeable: return f.has_any(kNeverDeduplicated) ? f : f | VmaFlag::mergeable;
    case Advice::unmergeable: return f & ~VmaFlags(VmaFlag::mergeable);
    default: return std::unexpected(Error::inval);
  }
}

// What an advice about pages says to a VMA before anything is done.
inline Result<void> may_advise_pages(const VmaFields& v, Advice advice) noexcept {
  const VmaFlags f = v.flags();
  const bool locked = f.has(VmaFlag::locked);
  const bool no_pages = f.has_any(VmaFlags(VmaFlag::pfnmap) | VmaFlag::special);
  const auto unless = [](bool refused) -> Result<void> {
    if (refused) return std::unexpected(Error::inval);
    return {};
  };
  switch (advice) {
    case Advice::dontneed: return unless(locked || no_pages);
    case Advice::dontneed_locked: return unless(no_pages);
    case Advice::free: return unless(locked || no_pages || !v.is_anonymous());
    case Advice::guard_install: return unless(locked || f.has_any(kSpecialFlags));
    case Advice::guard_remove: return unless(f.has_any(kSpecialFlags));
    case Advice::cold:
    case Advice::pageout: return unless(locked || no_pages);
    case Advice::remove:
      if (locked || v.is_anonymous()) return std::unexpected(Error::inval);
      if (!f.has_all(VmaFlags(VmaFlag::shared) | VmaFlag::may_write)) {
        return std::unexpected(Error::acces);
      }
      return {};
    default: return {};
  }
}

// A hole is made in a file, whose offsets end below 2^63. (mremap grows mappings beyond that.)
constexpr Result<void> may_punch(uint64_t offset, uint64_t bytes) noexcept {
  constexpr uint64_t kLargestFile = ~uint64_t{0} >> 1;
  if (offset > kLargestFile) return std::unexpected(Error::inval);
  if (bytes > kLargestFile - offset) return std::unexpected(Error::fbig);
  return {};
}

}  // namespace pervma

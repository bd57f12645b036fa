// advise.h: madvise. Advice that changes flags splits and merges under the mmap lock for write;
// advice that drops pages needs one VMA's read lock, or the mmap lock for read; the rest are hints.
#pragma once

#include "vm/advice_rules.h"
#include "vm/populate.h"
#include "vm/vma_edit.h"

namespace pervma {

// Checks that madvise and its relatives make before any lock.
inline Result<Range> checked_advice_range(Address start, uint64_t length) noexcept {
  if (!start.is_page_aligned()) return std::unexpected(Error::inval);
  const uint64_t bytes = page_align_up(length).value_or(0);
  if (length != 0 && bytes == 0) return std::unexpected(Error::inval);
  const Range range{start, start + bytes};
  if (range.end < range.start) return std::unexpected(Error::inval);
  return range;
}

// Calls visit(VmaT&, Range) for the part of every VMA in the range until one fails. Holes are
// passed over and reported at the end. Under the mmap lock, for write if the visits change the map.
template <VmaLockDesign L>
template <class Visit>
Result<void> BasicAddressSpace<L>::for_each_part(Range range, Visit visit) noexcept {
  bool met_hole = false;
  for (Address at = range.start; at < range.end;) {
    VmaT* const v = vma_from(at);
    if (v == nullptr) return std::unexpected(Error::nomem);
    if (v->start() > at) {
      met_hole = true;
      at = v->start();
      if (at >= range.end) break;
    }
    const Range part = v->range.intersection({at, range.end});
    if (Result<void> done = visit(*v, part); !done) return done;
    at = part.end;
  }
  if (met_hole) return std::unexpected(Error::nomem);
  return {};
}

// Makes a part of one VMA have these flags and this name, splitting and merging. Error::nomem: no
// memory, nothing changed; or too many VMAs, and a first cut may stay.
template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::change_flags(VmaT& v, Range part, VmaFlags flags,
                                                const char* name) noexcept {
  if (flags == v.flags() && name == v.name) return {};
  return change_look(v, part, {flags, name, v.user_context(), v.user_modes()});
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::change_look(VmaT& v, Range part, const VmaLook& look) noexcept {
  if (!reserve({2, 2})) return std::unexpected(Error::nomem);
  const Result<VmaT*> changed = modify(v, part, look);
  if (!changed) return std::unexpected(changed.error());
  VmaT& c = **changed;
  c.reset_flags(mm_, look.flags | (c.flags() & kStickyFlags));
  c.name = look.name;
  // Faults that hold the VMA use what is freed here: only now they are gone (rule R9).
  c.set_user_faults(look.user_context, look.user_modes);
  return {};
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::advise_flags(Range range, Advice advice,
                                                const std::stop_token& stop) noexcept {
  std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
  if (!write) return std::unexpected(Error::intr);
  mm_.assert_held_write();
  return for_each_part(range, [this, advice](VmaT& v, Range part) -> Result<void> {
    mm_.assert_held_write();
    if (seal_refuses(v, advice)) return std::unexpected(Error::perm);
    if (advice == Advice::guard_install) return install_guards(v, part);
    const Result<VmaFlags> flags = advised_flags(v, advice);
    if (!flags) return std::unexpected(flags.error());
    if (!change_flags(v, part, *flags, v.name)) return std::unexpected(Error::again);
    return {};
  });
}

// A marked range is no longer empty, so the VMA gets an identity as if it had been written to.
template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::install_guards(VmaT& v, Range part) noexcept {
  if (Result<void> may = may_advise_pages(v, Advice::guard_install); !may) return may;
  if (v.is_anonymous() && !prepare_anon_vma(v)) return std::unexpected(Error::nomem);
  v.reset_flags(mm_, v.flags() | VmaFlag::maybe_guard);
  return mmu_.install_guards(part);
}

// What an advice does to the pages of one VMA, which some lock keeps.
template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::advise_pages_of(const VmaT& v, Range range,
                                                   Advice advice) noexcept {
  if (seal_refuses(v, advice)) return std::unexpected(Error::perm);
  if (Result<void> may = may_advise_pages(v, advice); !may) return may;
  switch (advice) {
    case Advice::dontneed:
    case Advice::dontneed_locked: mmu_.discard(range); return {};
    case Advice::free: mmu_.mark_freed(range); return {};
    case Advice::cold: mmu_.age(range); return {};
    case Advice::pageout: mmu_.reclaim(v, range); return {};
    case Advice::guard_remove: mmu_.remove_guards(range); return {};
    case Advice::remove: {
      const uint64_t first = v.pgoff_at(range.start);
      if (Result<void> may = may_punch(first << kPageShift, range.bytes()); !may) return may;
      return mmu_.punch_hole(*v.file, first, range.pages());
    }
    default: return {};  // Hints.
  }
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::advise_read_locked(Range range, Advice advice,
                                                      const std::stop_token& stop) noexcept {
  std::optional<MmapRead> read = MmapRead::lock_killable(mm_, stop);
  if (!read) return std::unexpected(Error::intr);
  return for_each_part(range, [this, advice](const VmaT& v, Range part) {
    return advise_pages_of(v, part, advice);
  });
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
  return advise_read_locked(range, advice, stop);
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::advise(Address start, uint64_t length, Advice advice,
                                          const std::stop_token& stop) {
  const AdviceKind kind = kind_of(advice);
  if (kind == AdviceKind::unknown) return std::unexpected(Error::inval);
  const Result<Range> range = checked_advice_range(start, length);
  if (!range) return std::unexpected(range.error());
  if (range->empty()) return {};
  switch (kind) {
    case AdviceKind::flags:
    case AdviceKind::guard: return advise_flags(*range, advice, stop);
    case AdviceKind::pages: return advise_pages(*range, advice, stop);
    case AdviceKind::populate:
      return advise_populate(*range,
                             advice == Advice::populate_write ? Access::write : Access::read, stop);
    case AdviceKind::collapse: return advise_collapse(*range, stop);
    case AdviceKind::poison: return std::unexpected(Error::perm);
    default: return advise_read_locked(*range, advice, stop);
  }
}

}  // namespace pervma

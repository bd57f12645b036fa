// remap.h: mremap: shrink, grow in place, move; several VMAs at once with RemapFlags::fixed and
// equal lengths (Linux 6.17).
#pragma once

#include "vm/place.h"
#include "vm/unmap.h"

namespace pervma {

// One move or resize, and what is found out on the way.
template <VmaLockDesign L>
struct BasicAddressSpace<L>::RemapState {
  Address from;
  uint64_t old_length;
  uint64_t new_length;
  RemapFlags flags;
  Address to;
  VmaT* vma = nullptr;
  bool populates = false;  // locked memory grew: bring the new part in afterwards

  bool has(RemapFlags f) const noexcept { return any(flags & f); }
  bool names_a_place() const noexcept { return has(RemapFlags::fixed | RemapFlags::dontunmap); }
  bool grows() const noexcept { return new_length > old_length; }
  bool shrinks() const noexcept { return new_length < old_length; }
  Range source() const noexcept { return {from, from + old_length}; }
};

// Checks that need no lock, in Linux's order.
template <class State>
Result<void> check_remap(const State& s, Address top) noexcept {
  constexpr RemapFlags kKnown = RemapFlags::maymove | RemapFlags::fixed | RemapFlags::dontunmap;
  if (any(s.flags & ~kKnown)) return std::unexpected(Error::inval);
  if (!s.from.is_page_aligned()) return std::unexpected(Error::inval);
  if (s.new_length == 0 || s.new_length > top.value) return std::unexpected(Error::inval);
  if (!s.names_a_place()) return {};
  if (s.to.value > top.value - s.new_length) return std::unexpected(Error::inval);
  if (!s.to.is_page_aligned()) return std::unexpected(Error::inval);
  if (!s.has(RemapFlags::maymove)) return std::unexpected(Error::inval);
  if (s.has(RemapFlags::dontunmap) && s.old_length != s.new_length) {
    return std::unexpected(Error::inval);
  }
  // Wraps as Linux's sums do.
  const Range source{s.from, s.from + s.old_length};
  if (source.intersects({s.to, s.to + s.new_length})) return std::unexpected(Error::inval);
  return {};
}

// Checks of the VMA that is to move or to grow.
template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::remap_prepare(RemapState& s) noexcept {
  const VmaT* v = s.vma;
  if (v == nullptr) return std::unexpected(Error::fault);
  if (v->flags().has(VmaFlag::sealed)) return std::unexpected(Error::perm);
  if (!s.grows() && !s.names_a_place()) return {};
  // Length 0 duplicates a shared mapping; of a private one it makes no sense.
  if (s.old_length == 0 && !v->flags().has(VmaFlag::may_share)) {
    return std::unexpected(Error::inval);
  }
  const bool fixed_size = v->flags().has_any(VmaFlags(VmaFlag::dont_expand) | VmaFlag::pfnmap);
  if (s.has(RemapFlags::dontunmap) && fixed_size) return std::unexpected(Error::inval);
  const uint64_t kept = s.shrinks() ? s.new_length : s.old_length;
  if (kept > v->end() - s.from) return std::unexpected(Error::fault);
  if (s.new_length == kept) return {};
  if (fixed_size) return std::unexpected(Error::fault);
  const uint64_t more = s.new_length - s.old_length;
  if (!may_lock(v->flags(), more)) return std::unexpected(Error::again);
  if (!may_map(more >> kPageShift)) return std::unexpected(Error::nomem);
  s.populates = v->flags().has(VmaFlag::locked);
  return {};
}

// Every VMA of the range goes to the same distance, holes included. One whose faults are told to
// somebody goes alone, or not at all.
template <VmaLockDesign L>
Result<Address> BasicAddressSpace<L>::remap_several(RemapState& s) noexcept {
  const Range all = s.source();
  const Address first_target = s.to;
  Address moved_to = all.start;
  bool seen = false;
  while (moved_to < all.end) {
    VmaT* const v = vma_from(moved_to);
    if (v == nullptr || v->start() >= all.end) break;
    if (!seen && all.start < v->start()) return std::unexpected(Error::fault);
    const bool told = v->user_context() != nullptr;
    if (told && (seen || v->end() < all.end)) return std::unexpected(Error::fault);
    const Range part = v->range.intersection({moved_to, all.end});
    RemapState one{
        part.start, part.bytes(), part.bytes(), s.flags, first_target + (part.start - all.start),
        v};
    Result<void> ready = remap_prepare(one);
    if (!ready) return std::unexpected(ready.error());
    if (Result<Address> moved = remap_to(one); !moved) return moved;
    seen = true;
    moved_to = part.end;
  }
  if (!seen) return std::unexpected(Error::fault);
  return first_target;
}

// A move to a place that the caller names.
template <VmaLockDesign L>
Result<Address> BasicAddressSpace<L>::remap_to(RemapState& s) noexcept {
  // All at once, before the destination is emptied: its cutting out, the tail's, and the move.
  if (!reserve({7, 10})) return std::unexpected(Error::nomem);
  if (s.has(RemapFlags::fixed)) {
    if (Result<void> done = unmap_reserved({s.to, s.to + s.new_length}); !done) {
      return std::unexpected(done.error());
    }
    // It may have been cut. It is gone where it was to be duplicated over itself: a source of no
    // length meets no destination.
    s.vma = vma_at(s.from);
    if (s.vma == nullptr) return std::unexpected(Error::fault);
  }
  if (s.shrinks()) {
    if (!is_in_space(s.from, s.old_length)) return std::unexpected(Error::inval);
    if (Result<void> done = unmap_reserved({s.from + s.new_length, s.from + s.old_length}); !done) {
      return std::unexpected(done.error());
    }
    s.old_length = s.new_length;
    s.vma = vma_at(s.from);
    PERVMA_ASSERT(s.vma != nullptr);
  }
  const MapFlags shared =
      s.vma->flags().has(VmaFlag::may_share) ? MapFlags::shared : MapFlags::none;
  const MapFlags fixed = s.has(RemapFlags::fixed) ? MapFlags::fixed : MapFlags::none;
  if (s.has(RemapFlags::dontunmap) && !may_map(s.old_length >> kPageShift)) {
    return std::unexpected(Error::nomem);
  }
  const Result<Address> place = find_place(s.to, s.new_length, s.vma->file, shared | fixed);
  if (!place) return place;
  s.to = *place;
  return remap_move(s);
}

template <VmaLockDesign L>
Result<Address> BasicAddressSpace<L>::remap_expand(RemapState& s) noexcept {
  VmaT& v = *s.vma;
  const uint64_t grow = s.new_length - s.old_length;
  if (s.old_length == v.end() - s.from) {  // The tail: it may grow where it is.
    const Range more{v.end(), v.end() + grow};
    const VmaT* above = vma_from(v.end());
    const bool room = more.end <= options_.top && (above == nullptr || more.end <= above->start());
    if (room) {
      if (!reserve({0, 1})) return std::unexpected(Error::nomem);
      const RangeTraits traits{more,   v.flags(),        v.pgoff_at(v.end()), v.file,
                               v.name, v.user_context(), v.user_modes()};
      // What may grow at all fits its own continuation.
      const VmaT* const grown = merge_new({.traits = traits,
                                           .prev = &v,
                                           .middle = nullptr,
                                           .next = vma_from(more.end),
                                           .source = &v,
                                           .continues = true});
      PERVMA_ASSERT(grown != nullptr);
      if (traits.flags.has(VmaFlag::locked)) locked_pages_ += grow >> kPageShift;
      return s.from;
    }
  }
  if (!s.has(RemapFlags::maymove)) return std::unexpected(Error::nomem);
  const MapFlags shared = v.flags().has(VmaFlag::may_share) ? MapFlags::shared : MapFlags::none;
  const Result<Address> place = find_place({}, s.new_length, v.file, shared);
  if (!place) return place;
  s.to = *place;
  if (!reserve({3, 4})) return std::unexpected(Error::nomem);
  return remap_move(s);
}

// The VMA at the new place: a neighbour there that grows, or a copy. The source may be merged into
// it; s.vma follows. Needs: reserve({1, 2}).
template <VmaLockDesign L>
auto BasicAddressSpace<L>::copy_vma(RemapState& s) noexcept -> VmaT* {
  const VmaT& v = *s.vma;
  uint64_t pgoff = v.pgoff_at(s.from);
  // Nothing was faulted in, so nothing ties its offsets to the old place.
  if (v.is_anonymous() && v.anon_vma() == nullptr) pgoff = s.to.page();
  const Range target{s.to, s.to + s.new_length};
  const Merge merge{
      .traits = {target, v.flags(), pgoff, v.file, v.name, v.user_context(), v.user_modes()},
      .prev = prev_of(target.start),
      .middle = nullptr,
      .next = vma_from(target.end),
      .source = s.vma};
  if (VmaT* merged = merge_new(merge)) {
    if (merged->range.contains(s.from)) s.vma = merged;
    return merged;
  }
  VmaT& fresh = take_spare();
  copy_fields(fresh, v);
  fresh.range = target;
  fresh.pgoff = pgoff;
  insert(fresh);
  return &fresh;
}

// Moves source() to s.to, where nothing is mapped. Needs: reserve({3, 4}) for the copy and then the
// cutting out of the source.
template <VmaLockDesign L>
Result<Address> BasicAddressSpace<L>::remap_move(RemapState& s) noexcept {
  if (map_count_ + 3 >= options_.max_map_count) return std::unexpected(Error::nomem);
  s.vma->lock_write(mm_);  // No fault may come in between.
  const bool told = s.vma->user_context() != nullptr;
  VmaT* const copy = copy_vma(s);
  if (s.vma->flags().has(VmaFlag::locked)) locked_pages_ += s.new_length >> kPageShift;
  const Range source = s.source();
  bool failed = false;
  if (!source.empty()) {
    // Who comes from a frame waits, and finds the entry in one of the two.
    const MappersGuard guard(s.vma->joined());
    if (Result<void> moved = mmu_.move(source, s.to); !moved) {
      (void)mmu_.move({s.to, s.to + s.old_length}, source.start);
      failed = true;
    }
  }
  if (!failed && told) {
    // What moves is told to nobody any more, nor is what it was joined with, as in Linux without
    // UFFD_FEATURE_EVENT_REMAP.
    copy->reset_flags(mm_, copy->flags() & ~VmaFlags(VmaFlag::user_fault));
    copy->set_user_faults(nullptr, UserFaultModes::none);
    mmu_.clear_user_protection({s.to, s.to + s.old_length});
  }
  if (failed) {
    (void)unmap_reserved({s.to, s.to + s.new_length});
    return std::unexpected(Error::nomem);
  }
  if (s.has(RemapFlags::dontunmap)) {
    VmaT& left = *s.vma;
    left.reset_flags(mm_, left.flags() & ~kLockedFlags);
    if (copy != &left && source == left.range) drop_anon_vma(left);
  } else if (!source.empty()) {
    (void)unmap_reserved(source);
  }
  return s.to;
}

template <VmaLockDesign L>
Result<Address> BasicAddressSpace<L>::remap(const RemapRequest& req, const std::stop_token& stop) {
  RemapState s{req.old_address, page_align_up(req.old_length).value_or(0),
               page_align_up(req.new_length).value_or(0), req.flags, req.new_address};
  if (Result<void> ok = check_remap(s, options_.top); !ok) return std::unexpected(ok.error());

  Result<Address> result = std::unexpected(Error::intr);
  {
    std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
    if (!write) return result;
    mm_.assert_held_write();
    result = remap_locked(s, std::move(*write));
  }
  if (result && s.populates) {
    (void)populate({*result + s.old_length, *result + s.new_length}, OnFailure::next_vma, stop);
  }
  return result;
}

template <VmaLockDesign L>
Result<Address> BasicAddressSpace<L>::remap_locked(RemapState& s, MmapWrite write) noexcept {
  mm_.assert_held_write();
  if (s.names_a_place() && map_count_ + 5 >= options_.max_map_count) {
    return std::unexpected(Error::nomem);
  }
  if (s.has(RemapFlags::fixed) && s.old_length == s.new_length) return remap_several(s);
  s.vma = vma_at(s.from);
  if (Result<void> ready = remap_prepare(s); !ready) return std::unexpected(ready.error());
  if (s.names_a_place()) return remap_to(s);
  if (s.grows()) return remap_expand(s);
  if (!s.shrinks()) return s.from;

  if (!is_in_space(s.from, s.old_length)) return std::unexpected(Error::inval);
  if (!reserve({2, 3})) return std::unexpected(Error::nomem);
  const Result<Removed> removed = gather({s.from + s.new_length, s.from + s.old_length});
  if (!removed) return std::unexpected(removed.error());
  if (removed->first == nullptr) return s.from;
  unlink(*removed);
  const MmapRead read = downgrade(std::move(write));
  dispose(*removed);
  return s.from;
}

}  // namespace pervma

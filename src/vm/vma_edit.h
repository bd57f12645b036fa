// vma_edit.h: how VMAs come, go, split and merge: the only code that changes bounds, the tree and
// the count. Included by the instantiating .cpp files only.
//
// Every step here is infallible: reserve() has been called before. Whatever shrinks, grows or goes
// is write-locked before its bounds or its identity are looked at for the decision (rules R2, R8),
// and stays so until the mmap lock ends.
#pragma once

#include "vm/address_space.h"
#include "vm/vma_rules.h"

namespace pervma {

// VMAs and tree nodes for one operation; what is left over stays for the next. False: no memory,
// and nothing changed.
template <VmaLockDesign L>
bool BasicAddressSpace<L>::reserve(Need need) noexcept {
  while (spare_count_ < need.vmas) {
    VmaT* v = cache_.alloc();
    if (v == nullptr) return false;
    if (!L::init(v->near, v->far, mm_)) {
      cache_.free(v);
      return false;
    }
    v->set_mapper_space(mapper_space_);
    v->next_detached = spares_;
    spares_ = v;
    ++spare_count_;
  }
  // Here nothing is changed yet: who waits for readers now makes no fault wait.
  {
    const MapleTree::Leftovers leftovers = tree_.take_leftovers();
  }
  return tree_.reserve(need.stores);
}

template <VmaLockDesign L>
auto BasicAddressSpace<L>::take_spare() noexcept -> VmaT& {
  PERVMA_ASSERT(spares_ != nullptr);
  VmaT& v = *spares_;
  spares_ = v.next_detached;
  --spare_count_;
  v.next_detached = nullptr;
  return v;
}

// Gives back a VMA that nobody can reach any more: count 0 (rule 10), reusable at once.
template <VmaLockDesign L>
void BasicAddressSpace<L>::destroy(VmaT& v) noexcept {
  leave_mappers(v);
  drop_anon_vma(v);
  if (v.file != nullptr) v.file->drop();
  v.file = nullptr;
  v.name = nullptr;
  v.set_user_faults(nullptr, UserFaultModes::none);
  v.next_detached = nullptr;
  L::retire(v.near, v.far);
  reaper_.free(v);
}

// Whoever comes from a frame finds the VMA from here on. It has its bounds; may be in already.
template <VmaLockDesign L>
void BasicAddressSpace<L>::join_mappers(VmaT& v) noexcept {
  if (v.joined() != nullptr) return;
  if (Mappers* mappers = v.mappers()) mappers->add(v);
}

// Its pages are gone, or a neighbour's.
template <VmaLockDesign L>
void BasicAddressSpace<L>::leave_mappers(VmaT& v) noexcept {
  if (Mappers* mappers = v.joined()) mappers->remove(v);
}

// The identity of a VMA that others see changes only while it is write-locked (rule R8): a fault
// would find its own.
template <VmaLockDesign L>
void BasicAddressSpace<L>::give_anon_vma(VmaT& to, const VmaT& from) noexcept {
  PERVMA_DASSERT(to.is_detached() || L::is_write_locked(to.near, mm_));
  AnonVma* const anon = from.anon_vma();
  if (anon == nullptr) return;
  anon->hold();
  anon->add_vma(1);
  to.ancestors = from.ancestors;
  if (to.ancestors != nullptr) to.ancestors->hold();
  to.set_anon_vma(anon);
}

template <VmaLockDesign L>
void BasicAddressSpace<L>::drop_anon_vma(VmaT& v) noexcept {
  if (v.ancestors != nullptr) v.ancestors->drop();
  v.ancestors = nullptr;
  if (AnonVma* anon = v.anon_vma()) {
    if (v.is_anonymous()) leave_mappers(v);
    v.set_anon_vma(nullptr);
    anon->add_vma(-1);
    anon->drop();
  }
}

// Everything but the bounds and the lock.
template <VmaLockDesign L>
void BasicAddressSpace<L>::copy_fields(VmaT& to, const VmaT& from) noexcept {
  to.init_flags(from.flags());
  to.file = from.file;
  if (to.file != nullptr) to.file->hold();
  to.name = from.name;
  to.set_user_faults(from.user_context(), from.user_modes());
  give_anon_vma(to, from);
}

// Tells the observer how the VMA stands now.
template <VmaLockDesign L>
void BasicAddressSpace<L>::tell(const VmaT& v) const noexcept {
  if (options_.observer == nullptr) return;
  options_.observer->changed({.range = v.range,
                              .flags = v.flags(),
                              .page_offset = v.pgoff,
                              .file = v.file != nullptr ? &v.file->object().identity() : nullptr});
}

// The tree says where the VMA is. Readers that find it before its lock ends are refused.
template <VmaLockDesign L>
void BasicAddressSpace<L>::write_to_tree(VmaT& v) noexcept {
  tree_.store_reserved(v.start().value, v.end().value - 1, &v);
}

// Publishes a VMA: write-locked first, because its maker is not done with it (rule R3).
template <VmaLockDesign L>
void BasicAddressSpace<L>::insert(VmaT& v) noexcept {
  v.lock_write(mm_);
  join_mappers(v);
  L::attach(v.near, v.far, mm_);
  write_to_tree(v);
  ++map_count_;
  mapped_pages_ += v.range.pages().value;
}

// The tree has the survivor in its place already.
template <VmaLockDesign L>
void BasicAddressSpace<L>::remove_merged(VmaT& v) noexcept {
  L::detach(v.near, v.far, mm_);
  --map_count_;
  destroy(v);
}

// Cuts `v` at `at`. `v` keeps the other half; the new one is returned. Takes one spare and one
// store.
template <VmaLockDesign L>
auto BasicAddressSpace<L>::split(VmaT& v, Address at, NewHalf half) noexcept -> VmaT& {
  PERVMA_ASSERT(v.start() < at && at < v.end());
  VmaT& fresh = take_spare();
  v.lock_write(mm_);
  copy_fields(fresh, v);
  const bool below = half == NewHalf::below;
  fresh.range = below ? Range{v.start(), at} : Range{at, v.end()};
  fresh.pgoff = v.pgoff_at(fresh.start());
  // For a moment both show the new half's pages: none is missed.
  join_mappers(fresh);
  {
    const MappersGuard guard(v.joined());
    if (below) {
      v.pgoff = v.pgoff_at(at);
      v.range.start = at;
    } else {
      v.range.end = at;
    }
  }
  mapped_pages_ -= fresh.range.pages().value;  // insert() counts them again
  insert(fresh);
  return fresh;
}

// The last VMA that ends at or below the address.
template <VmaLockDesign L>
auto BasicAddressSpace<L>::prev_of(Address start) const noexcept -> VmaT* {
  MapleTree::Cursor cursor(tree_, start.value);
  return static_cast<VmaT*>(cursor.prev(0));
}

// Tries to cover a new range by growing its neighbours. The VMA that covers it, or null.
template <VmaLockDesign L>
auto BasicAddressSpace<L>::merge_new(const Merge& m) noexcept -> VmaT* {
  if (m.traits.flags.has_any(kSpecialFlags)) return nullptr;
  bool left = m.prev != nullptr && extends_right(*m.prev, m.traits);
  bool right = m.next != nullptr && extends_left(*m.next, m.traits);
  if (!left && !right) return nullptr;
  if (left) m.prev->lock_write(mm_);
  if (right) m.next->lock_write(mm_);
  const AnonVma* anon = m.source != nullptr ? m.source->anon_vma() : nullptr;
  // A range that continues its source brings no pages: Linux does not ask for the source's chain.
  const bool singular = m.source == nullptr || m.continues || m.source->chain_is_singular();
  left = left && anon_vma_allows(m.prev->anon_vma(), m.prev->chain_is_singular(), anon, singular);
  right = right && anon_vma_allows(m.next->anon_vma(), m.next->chain_is_singular(), anon, singular);
  return merge_range(m, left, right);
}

// Tries to give a part of `middle`, at one of its ends, to its neighbours. The survivor, or null.
template <VmaLockDesign L>
auto BasicAddressSpace<L>::merge_existing(const Merge& m) noexcept -> VmaT* {
  if (m.traits.flags.has_any(kSpecialFlags)) return nullptr;
  const Range r = m.traits.range;
  bool left = r.start == m.middle->start() && m.prev != nullptr && extends_right(*m.prev, m.traits);
  bool right = r.end == m.middle->end() && m.next != nullptr && extends_left(*m.next, m.traits);
  if (!left && !right) return nullptr;
  m.middle->lock_write(mm_);
  if (left) m.prev->lock_write(mm_);
  if (right) m.next->lock_write(mm_);
  const AnonVma* anon = m.middle->anon_vma();
  const bool singular = m.middle->chain_is_singular();
  left = left && anon_vma_allows(m.prev->anon_vma(), m.prev->chain_is_singular(), anon, singular);
  right = right && anon_vma_allows(m.next->anon_vma(), m.next->chain_is_singular(), anon, singular);
  return merge_range(m, left, right);
}

// Carries the merge out. All VMAs that change are write-locked.
template <VmaLockDesign L>
auto BasicAddressSpace<L>::merge_range(const Merge& m, bool left, bool right) noexcept -> VmaT* {
  if (left && right) {
    // Each fits the range; that does not mean that they fit each other.
    const AnonVma* p = m.prev->anon_vma();
    const AnonVma* n = m.next->anon_vma();
    right = p == nullptr || n == nullptr || p == n;
  }
  if (!left && !right) return nullptr;
  const Range r = m.traits.range;
  VmaT& survivor = left ? *m.prev : *m.next;
  VmaT* const gone_next = left && right ? m.next : nullptr;
  const bool middle_goes = m.middle != nullptr && r == m.middle->range;

  if (survivor.anon_vma() == nullptr) {
    if (gone_next != nullptr && gone_next->anon_vma() != nullptr) {
      give_anon_vma(survivor, *gone_next);
    } else if (m.source != nullptr) {
      give_anon_vma(survivor, *m.source);
    }
  }
  VmaFlags sticky = m.traits.flags & kStickyFlags;
  if (gone_next != nullptr) sticky |= gone_next->flags() & kStickyFlags;
  survivor.reset_flags(mm_, survivor.flags() | sticky);
  if (m.middle == nullptr) mapped_pages_ += r.pages().value;

  join_mappers(survivor);
  {
    // The middle is in the same list, or in none.
    const MappersGuard guard(survivor.joined());
    if (m.middle != nullptr && !middle_goes) {  // It keeps the part that is not given away.
      if (left) {
        m.middle->pgoff = m.middle->pgoff_at(r.end);
        m.middle->range.start = r.end;
      } else {
        m.middle->range.end = r.start;
      }
    }
    if (left) {
      survivor.range.end = right ? m.next->end() : r.end;
    } else {
      survivor.pgoff = m.traits.pgoff;
      survivor.range.start = r.start;
    }
  }
  write_to_tree(survivor);
  if (middle_goes) remove_merged(*m.middle);
  if (gone_next != nullptr) remove_merged(*gone_next);
  return &survivor;
}

// Makes the range, a part of `v`, a VMA that may look so: a neighbour that grows over it, or `v`
// cut to it. The caller gives the look to what is returned. Error::nomem: too many VMAs; a first
// cut stays, as in Linux. Needs: reserve({2, 2}).
template <VmaLockDesign L>
auto BasicAddressSpace<L>::modify(VmaT& v, Range range, const VmaLook& look) noexcept
    -> Result<VmaT*> {
  const Merge merge{
      .traits = {range, look.flags | (v.flags() & kStickyFlags), v.pgoff_at(range.start), v.file,
                 look.name, look.user_context, look.user_modes},
      .prev = v.start() == range.start ? prev_of(range.start) : nullptr,
      .middle = &v,
      .next = v.end() == range.end ? vma_from(range.end) : nullptr,
      .source = &v};
  if (VmaT* merged = merge_existing(merge)) return merged;
  if (v.start() < range.start) {
    if (map_count_ >= options_.max_map_count) return std::unexpected(Error::nomem);
    split(v, range.start, NewHalf::below);
  }
  if (range.end < v.end()) {
    if (map_count_ >= options_.max_map_count) return std::unexpected(Error::nomem);
    split(v, range.end, NewHalf::above);
  }
  return &v;
}

}  // namespace pervma

// brk.h: the heap, and the growth of stacks.
#pragma once

#include "vm/unmap.h"

namespace pervma {

template <VmaLockDesign L>
void BasicAddressSpace<L>::set_brk_start(Address start) {
  std::optional<MmapWrite> write = MmapWrite::lock(mm_, {});
  mm_.assert_held_write();
  brk_start_ = start;
  brk_ = start;
}

template <VmaLockDesign L>
void BasicAddressSpace<L>::set_stack(Address address) {
  std::optional<MmapWrite> write = MmapWrite::lock(mm_, {});
  mm_.assert_held_write();
  stack_ = address;
}

template <VmaLockDesign L>
Address BasicAddressSpace<L>::brk(Address wanted, const std::stop_token& stop) {
  Range fresh{};
  {
    std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
    if (!write) return brk_.get();  // As it is at some moment: a stopped call changes nothing.
    mm_.assert_held_write();
    const Address before = brk_.get();
    const Address start = brk_start_.get();
    if (wanted < start || start.value == 0 || wanted > options_.top) return before;
    const Address old_end = before + (-before.value & kPageMask);
    const Address new_end = wanted + (-wanted.value & kPageMask);
    if (new_end == old_end) return brk_ = wanted;
    if (wanted <= before) return shrink_heap({new_end, old_end}, wanted, std::move(*write));
    if (!grow_heap({old_end, new_end})) return before;
    brk_ = wanted;
    if (future_flags_.has(VmaFlag::locked)) fresh = {old_end, new_end};
  }
  if (!fresh.empty()) (void)populate(fresh, OnFailure::next_vma, stop);
  return wanted;
}

// The break moves with the heap's end, before the lock is downgraded.
template <VmaLockDesign L>
Address BasicAddressSpace<L>::shrink_heap(Range gone, Address wanted, MmapWrite write) noexcept {
  mm_.assert_held_write();
  const VmaT* last = vma_from(gone.start);
  if (last == nullptr || last->start() >= gone.end) return brk_.get();
  if (!reserve({2, 3})) return brk_.get();
  const Result<Removed> removed = gather(gone);
  if (!removed) return brk_.get();
  unlink(*removed);
  brk_ = wanted;
  const MmapRead read = downgrade(std::move(write));
  dispose(*removed);
  return wanted;
}

template <VmaLockDesign L>
bool BasicAddressSpace<L>::grow_heap(Range more) noexcept {
  // Room for a guard page and the gap of a stack above.
  if (const VmaT* above = vma_from(more.start);
      above != nullptr && more.end + kPageSize > start_with_gap(*above)) {
    return false;
  }
  const VmaFlags flags =
      VmaFlags(VmaFlag::read) | VmaFlag::write | kMayFlags | VmaFlag::account | future_flags_;
  const uint64_t pages = more.pages().value;
  if (!may_lock(flags, more.bytes()) || !may_map(pages)) return false;
  if (map_count_ > options_.max_map_count || !reserve({1, 2})) return false;
  VmaT* heap = prev_of(more.start);
  if (heap != nullptr && heap->end() <= brk_start_.get()) heap = nullptr;  // Not the heap's.
  const RangeTraits traits{more, flags, more.start.page(), nullptr, nullptr};
  VmaT* covering = merge_new({traits, heap, nullptr, nullptr, nullptr});
  if (covering == nullptr) {
    VmaT& v = take_spare();
    v.range = traits.range;
    v.pgoff = traits.pgoff;
    v.init_flags(flags);
    insert(v);
    covering = &v;
  }
  if (flags.has(VmaFlag::locked)) locked_pages_ += pages;
  tell(*covering);
  return true;
}

// Bounds move only after the VMA is write-locked (rule R2).
template <VmaLockDesign L>
auto BasicAddressSpace<L>::expand_stack(Address address) noexcept -> VmaT* {
  const Address start = address.page_down();
  VmaT* v = vma_from(start);
  if (v == nullptr || v->start() <= start) return v;
  if (!v->flags().has(VmaFlag::growsdown) || start < options_.lowest) return nullptr;
  const uint64_t grow = (v->start() - start) >> kPageShift;
  const VmaT* below = prev_of(v->start());
  if (below != nullptr && !below->flags().has(VmaFlag::growsdown) &&
      below->flags().has_any(kAccessFlags) && start - below->end() < kStackGuardGap) {
    return nullptr;
  }
  // As in Linux a stack that reaches its limit has its identity by then, and merges accordingly.
  if (!reserve({0, 1}) || !prepare_anon_vma(*v)) return nullptr;
  if (grow > v->pgoff || v->end() - start > options_.stack_limit) return nullptr;
  if (!may_map(grow) || !may_lock(v->flags(), grow << kPageShift)) return nullptr;
  v->lock_write(mm_);
  {
    const MappersGuard guard(v->joined());
    v->range.start = start;
    v->pgoff = v->pgoff - grow;
  }
  mapped_pages_ += grow;
  if (v->flags().has(VmaFlag::locked)) locked_pages_ += grow;
  write_to_tree(*v);
  tell(*v);
  return v;
}

}  // namespace pervma

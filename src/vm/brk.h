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
  std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
  if (!write) return brk_start_;  // As Linux, which answers a killed caller with anything.
  mm_.assert_held_write();
  const Address before = brk_;
  if (wanted < brk_start_ || brk_start_.value == 0 || wanted > options_.top) return before;
  const Address old_end = before + (-before.value & kPageMask);
  const Address new_end = wanted + (-wanted.value & kPageMask);
  if (new_end == old_end) return brk_ = wanted;

  if (wanted <= before) {
    const VmaT* last = vma_from(new_end);
    if (last == nullptr || last->start() >= old_end) return before;
    if (!reserve({2, 3})) return before;
    Result<Removed> removed = gather({new_end, old_end});
    if (!removed || removed->first == nullptr) return before;
    unlink(*removed);
    brk_ = wanted;
    const MmapRead read = downgrade(std::move(*write));
    dispose(*removed);
    return wanted;
  }

  // Room for a guard page and the gap of a stack above.
  if (const VmaT* above = vma_from(old_end);
      above != nullptr && new_end + kPageSize > start_with_gap(*above)) {
    return before;
  }
  if (map_count_ > options_.max_map_count || !reserve({1, 2})) return before;
  VmaT* heap = prev_of(old_end);
  if (heap != nullptr && heap->end() <= brk_start_) heap = nullptr;  // Not the heap's.
  const VmaFlags flags = VmaFlags(VmaFlag::read) | VmaFlag::write | kMayFlags | VmaFlag::account;
  const RangeTraits traits{{old_end, new_end}, flags, old_end.page(), nullptr, nullptr};
  VmaT* covering = merge_new({traits, heap, nullptr, nullptr, nullptr});
  if (covering == nullptr) {
    VmaT& v = take_spare();
    v.range = traits.range;
    v.pgoff = traits.pgoff;
    v.init_flags(flags);
    insert(v);
    covering = &v;
  }
  tell(*covering);
  return brk_ = wanted;
}

// Bounds move only after the VMA is write-locked (rule R2).
template <VmaLockDesign L>
auto BasicAddressSpace<L>::expand_stack(Address address) noexcept -> VmaT* {
  const Address start = address.page_down();
  VmaT* v = vma_from(start);
  if (v == nullptr || v->start() <= start) return v;
  if (!v->flags().has(VmaFlag::growsdown) || start < options_.lowest) return nullptr;
  if (v->end() - start > options_.stack_limit) return nullptr;
  const uint64_t grow = (v->start() - start) >> kPageShift;
  if (grow > v->pgoff) return nullptr;
  const VmaT* below = prev_of(v->start());
  if (below != nullptr && !below->flags().has(VmaFlag::growsdown) &&
      below->flags().has_any(kAccessFlags) && start - below->end() < kStackGuardGap) {
    return nullptr;
  }
  if (below != nullptr && start < below->end()) return nullptr;
  if (!reserve({0, 1})) return nullptr;
  v->lock_write(mm_);
  v->range.start = start;
  v->pgoff -= grow;
  write_to_tree(*v);
  tell(*v);
  return v;
}

}  // namespace pervma

// unmap.h: munmap, and the taking away of VMAs that mmap and mremap share.
#pragma once

#include "vm/vma_edit.h"

namespace pervma {

// Cuts the VMAs at both ends of the range and collects what lies in it; nothing is detached yet.
// The cuts stay even when a later step fails, as in Linux. Needs: reserve({2, 2}).
template <VmaLockDesign L>
auto BasicAddressSpace<L>::gather(Range range) noexcept -> Result<Removed> {
  Removed removed;
  VmaT* v = vma_from(range.start);
  if (v == nullptr || v->start() >= range.end) return removed;
  if (v->start() < range.start) {
    // A cut in the middle adds a VMA; a cut at an edge is made good by what goes.
    if (range.end < v->end() && map_count_ >= options_.max_map_count) {
      return std::unexpected(Error::nomem);
    }
    if (v->flags().has(VmaFlag::sealed)) return std::unexpected(Error::perm);
    split(*v, range.start, NewHalf::below);
  }
  removed.first = v;
  MapleTree::Cursor cursor(tree_, v->start().value);
  (void)cursor.walk(v->start().value);
  while (v != nullptr && v->start() < range.end) {
    if (v->flags().has(VmaFlag::sealed)) return std::unexpected(Error::perm);
    removed.last = v;
    if (range.end < v->end()) {
      split(*v, range.end, NewHalf::above);
      removed.pages += v->range.pages().value;
      break;
    }
    removed.pages += v->range.pages().value;
    VmaT* const next = static_cast<VmaT*>(cursor.next(options_.top.value - 1));
    v->next_detached = next;
    v = next;
  }
  removed.last->next_detached = nullptr;
  removed.span = {removed.first->start(), removed.last->end()};
  const VmaT* below = prev_of(removed.span.start);
  const VmaT* above = vma_from(removed.span.end);
  removed.limits = {below != nullptr ? below->end() : Address{0},
                    above != nullptr ? above->start() : options_.top};
  return removed;
}

// Each is write-locked, then detached, before the tree forgets it.
template <VmaLockDesign L>
void BasicAddressSpace<L>::detach_all(const Removed& removed) noexcept {
  for (VmaT* v = removed.first; v != nullptr; v = v->next_detached) {
    v->lock_write(mm_);
    L::detach(v->near, v->far, mm_);
    --map_count_;
    if (v->flags().has(VmaFlag::locked)) locked_pages_ -= v->range.pages().value;
  }
  mapped_pages_ -= removed.pages;
}

// Takes the gathered VMAs out of the map. Takes one store.
template <VmaLockDesign L>
void BasicAddressSpace<L>::unlink(const Removed& removed) noexcept {
  detach_all(removed);
  tree_.store_reserved(removed.span.start.value, removed.span.end.value - 1, nullptr);
}

// Pages, tables and VMAs of what was unlinked, one VMA at least. Needs the mmap lock for read at
// least: no new mapping can come into the hole meanwhile, so its tables are nobody else's.
template <VmaLockDesign L>
void BasicAddressSpace<L>::dispose(const Removed& removed) noexcept {
  for (VmaT* v = removed.first; v != nullptr; v = v->next_detached) {
    mmu_.zap(v->range);
    leave_mappers(*v);  // Before its tables go.
  }
  mmu_.free_tables(removed.span, removed.limits);
  for (VmaT* v = removed.first; v != nullptr;) {
    VmaT* const next = v->next_detached;
    destroy(*v);
    v = next;
  }
}

// munmap within a reservation, without giving up the lock in between, for mmap and mremap.
template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::unmap_reserved(Range range) noexcept {
  const Result<Removed> removed = gather(range);
  if (!removed) return std::unexpected(removed.error());
  if (removed->first == nullptr) return {};
  unlink(*removed);
  dispose(*removed);
  return {};
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::unmap(Address start, uint64_t length,
                                         const std::stop_token& stop) {
  if (!start.is_page_aligned() || !is_in_space(start, length)) return std::unexpected(Error::inval);
  const Range range{start, start + page_align_up(length).value_or(0)};
  if (range.empty()) return std::unexpected(Error::inval);

  std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
  if (!write) return std::unexpected(Error::intr);
  mm_.assert_held_write();
  if (!reserve({2, 3})) return std::unexpected(Error::nomem);
  Result<Removed> removed = gather(range);
  if (!removed) return std::unexpected(removed.error());
  if (removed->first == nullptr) return {};
  unlink(*removed);
  // The long part runs beside faults and other readers.
  const MmapRead read = downgrade(std::move(*write));
  dispose(*removed);
  return {};
}

}  // namespace pervma

// residency.h: mincore and msync: looking at a range under the mmap lock for read.
#pragma once

#include "vm/address_space.h"
#include "vm/lookup.h"
#include "vm/vma_rules.h"

namespace pervma {

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::residency(Address start, uint64_t length, std::span<uint8_t> to,
                                             const std::stop_token& stop) const {
  if (!start.is_page_aligned()) return std::unexpected(Error::inval);
  if (!is_in_space(start, length)) return std::unexpected(Error::nomem);
  const Range range{start, start + page_align_up(length).value_or(0)};
  if (to.size() < range.pages().value) return std::unexpected(Error::inval);
  std::optional<MmapRead> read = MmapRead::lock_killable(mm_, stop);
  if (!read) return std::unexpected(Error::intr);
  for (Address at = range.start; at < range.end;) {
    const VmaT* v = vma_at(at);
    if (v == nullptr) return std::unexpected(Error::nomem);
    const Range part = v->range.intersection({at, range.end});
    mmu_.residency(*v, part, to.subspan((at - range.start) >> kPageShift, part.pages().value));
    at = part.end;
  }
  return {};
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::sync(Address start, uint64_t length, SyncFlags flags,
                                        const std::stop_token& stop) {
  constexpr SyncFlags kEither = SyncFlags::async | SyncFlags::sync;
  if (any(flags & ~(kEither | SyncFlags::invalidate)) || (flags & kEither) == kEither ||
      !start.is_page_aligned()) {
    return std::unexpected(Error::inval);
  }
  const Address end = start + ((length + kPageMask) & ~kPageMask);
  if (end < start) return std::unexpected(Error::nomem);
  bool met_hole = false;
  for (Address at = start; at < end;) {
    FileRef file;
    Range part{};
    uint64_t first_page = 0;
    {
      std::optional<MmapRead> read = MmapRead::lock_killable(mm_, stop);
      if (!read) return std::unexpected(Error::intr);
      const VmaT* v = vma_from(at);
      if (v == nullptr) return std::unexpected(Error::nomem);
      if (at < v->start()) {
        if (flags == SyncFlags::async) return std::unexpected(Error::nomem);
        met_hole = true;
        if (v->start() >= end) break;
      }
      if (any(flags & SyncFlags::invalidate) && v->flags().has(VmaFlag::locked)) {
        return std::unexpected(Error::busy);
      }
      part = v->range.intersection({at, end});
      if (any(flags & SyncFlags::sync) && v->is_shared() && !v->is_anonymous()) {
        v->file->hold();
        file = FileRef(v->file);
        first_page = v->pgoff_at(part.start);
      }
      at = v->end();
    }
    // Waits for the object, who may take long.
    if (file) {
      if (Result<void> kept = mmu_.write_back(*file.get(), first_page, part.pages()); !kept) {
        return kept;
      }
    }
  }
  if (met_hole) return std::unexpected(Error::nomem);
  return {};
}

}  // namespace pervma

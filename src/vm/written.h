// written.h: which pages were written since one asked last: for snapshots and migration.
#pragma once

#include "vm/advise.h"

namespace pervma {

// The entries of a VMA change under its write lock (rule R12): the mmap lock for write alone does
// not keep faults away, and one that saw the right to write before would go on with it.
template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::clear_written(Address start, uint64_t length,
                                                 const std::stop_token& stop) {
  const Result<Range> range = checked_advice_range(start, length);
  if (!range) return std::unexpected(range.error());
  std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
  if (!write) return std::unexpected(Error::intr);
  mm_.assert_held_write();
  return for_each_part(*range, [this, &stop](VmaT& v, Range part) -> Result<void> {
    mm_.assert_held_write();
    if (!v.lock_write(mm_, stop)) return std::unexpected(Error::intr);
    mmu_.clear_written(part);
    return {};
  });
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::written(Address start, uint64_t length, std::span<uint8_t> to,
                                           const std::stop_token& stop) const {
  const Result<Range> range = checked_advice_range(start, length);
  if (!range) return std::unexpected(range.error());
  if (to.size() < range->pages().value) return std::unexpected(Error::inval);
  std::optional<MmapRead> read = MmapRead::lock_killable(mm_, stop);
  if (!read) return std::unexpected(Error::intr);
  mmu_.written(*range, to);
  return {};
}

}  // namespace pervma

// huge_slot.h: an entry one level above the leaves that may map 2 MiB at once.
//
// It is nothing, a leaf table, or huge: 512 frames in a row, each with a reference of this entry's,
// and rights that are one for all. From huge to nothing or to a table it changes under the lock of
// the table that it is in; from nothing or a table to huge only where nobody but walkers without
// locks can be at its pages (SoftMmu::collapse, move, copy_to).
//
// With every huge entry its table keeps one leaf table that nobody has ever seen, so that a split
// needs no memory: it may be made where nothing may fail. They are chained through FrameMeta::next,
// from that of the table; which entry gets which does not matter.
#pragma once

#include <atomic>
#include <cstdint>

#include "fault/entry_word.h"
#include "fault/frame.h"
#include "fault/page_entry.h"
#include "pervma/address.h"

namespace pervma {

inline constexpr uint64_t kHugeBytes = uint64_t{kBlockFrames} << kPageShift;

constexpr Range huge_range(Address a) noexcept {
  const Address start{a.value & ~(kHugeBytes - 1)};
  return {start, start + kHugeBytes};
}

using EntryWord = BasicEntryWord<NativePlatform>;

class HugeSlot {
 public:
  HugeSlot() noexcept = default;
  HugeSlot(std::atomic<uint64_t>* slot, FrameMeta* table) noexcept : slot_(slot), table_(table) {}

  explicit operator bool() const noexcept { return slot_ != nullptr; }
  SpinLock& lock() const noexcept PERVMA_RETURN_CAPABILITY(table_->lock) { return table_->lock; }

  PageEntry load() const noexcept { return PageEntry::from_bits(EntryWord::look_huge(*slot_)); }
  // Unordered: under the lock, or to compare.
  PageEntry peek() const noexcept {
    return PageEntry::from_bits(slot_->load(std::memory_order_relaxed));
  }
  // Publishes the frames' contents, or those of the table, with the entry.
  void set(PageEntry entry) const noexcept PERVMA_REQUIRES(table_->lock) {
    EntryWord::set_huge(*slot_, entry.bits());
  }
  // As LeafSlot::mark_used().
  void mark_used(PageEntry seen) const noexcept {
    uint64_t bits = seen.bits();
    (void)slot_->compare_exchange_strong(bits, seen.used().bits(), std::memory_order_relaxed);
  }

  // First of the tables that are kept. Under the lock.
  uint32_t& kept() const noexcept PERVMA_REQUIRES(table_->lock) { return table_->next; }

 private:
  std::atomic<uint64_t>* slot_ = nullptr;
  FrameMeta* table_ = nullptr;
};

}  // namespace pervma

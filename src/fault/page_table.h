// page_table.h: the four-level page table of one space: tables of 512 entries, 48-bit addresses. An
// entry above the leaves may be huge (huge_slot.h).
//
// Entries are atomics. Who may do what:
//
//   find()       anyone inside an RCU read section, or with a lock that keeps the VMA. Lock-free
//   ensure()     with a lock that keeps the VMA (read suffices): upper entries are set by exchange
//   leaf entry   changed under the lock of its table only; read by anyone
//   split()      anyone: it changes no translation
//   free_range() no VMA reaches into the limits; unlocked walkers may still be inside: RCU
//
// A load reads the entry, copies, and reads the entry again: a frame that left the entry in between
// may belong to somebody else by then. A store holds the table's lock, so that a right that was
// taken away is gone when its taker returns. Lock order: a leaf's lock is innermost.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "fault/frame_pool.h"
#include "fault/huge_slot.h"
#include "fault/page_entry.h"
#include "pervma/address.h"

namespace pervma {

// One entry of a leaf table, with the lock that guards it. Empty when there is no table.
class LeafSlot {
 public:
  LeafSlot() noexcept = default;
  LeafSlot(std::atomic<uint64_t>* slot, SpinLock* lock) noexcept : slot_(slot), lock_(lock) {}

  explicit operator bool() const noexcept { return slot_ != nullptr; }
  // Of an empty one: there is no leaf because an entry above it is huge, or was.
  bool met_huge() const noexcept { return lock_ != nullptr; }
  SpinLock& lock() const noexcept PERVMA_RETURN_CAPABILITY(lock_) { return *lock_; }

  PageEntry load() const noexcept { return PageEntry::from_bits(EntryWord::look(*slot_)); }
  // Unordered: under the lock, or to compare.
  PageEntry peek() const noexcept {
    return PageEntry::from_bits(slot_->load(std::memory_order_relaxed));
  }
  // Publishes the frame's contents with the entry.
  void set(PageEntry entry) const noexcept PERVMA_REQUIRES(lock_) {
    EntryWord::set(*slot_, entry.bits());
  }
  // The same for the entry `n` further, under the same lock.
  void set_ahead(std::ptrdiff_t n, PageEntry entry) const noexcept PERVMA_REQUIRES(lock_) {
    EntryWord::set(slot_[n], entry.bits());
  }
  // The same in a table that nobody else can reach yet.
  void init(PageEntry entry) const noexcept {
    slot_->store(entry.bits(), std::memory_order_relaxed);
  }
  // Says that the entry was used, if it is what was seen. Without the lock: whoever changes the
  // entry under it may overwrite the mark, which only costs the page its second chance.
  void mark_used(PageEntry seen) const noexcept {
    uint64_t bits = seen.bits();
    (void)slot_->compare_exchange_strong(bits, seen.used().bits(), std::memory_order_relaxed);
  }
  // The entry `n` further in the same table.
  LeafSlot ahead(std::ptrdiff_t n) const noexcept { return {slot_ + n, lock_}; }
  // Takes the lock and sets the entry if it still is what was seen.
  [[nodiscard]] bool replace(PageEntry seen, PageEntry entry) const noexcept {
    SpinGuard guard(lock());
    if (peek() != seen) return false;
    set(entry);
    return true;
  }

 private:
  std::atomic<uint64_t>* slot_ = nullptr;
  SpinLock* lock_ = nullptr;
};

// The part of one leaf table that an operation is about.
struct LeafSpan {
  std::atomic<uint64_t>* slots;
  SpinLock* lock;
  unsigned first;  // index of the first entry, and
  unsigned last;   // one beyond the last
  Address start;   // what the first entry maps

  LeafSlot at(unsigned index) const noexcept { return {slots + index, lock}; }
  Address address_of(unsigned index) const noexcept {
    return start + (uint64_t{index - first} << kPageShift);
  }
  PageEntry peek(unsigned index) const noexcept { return at(index).peek(); }
  void set(unsigned index, PageEntry entry) const noexcept PERVMA_REQUIRES(lock) {
    EntryWord::set(slots[index], entry.bits());
  }
};

class PageTable {
 public:
  static constexpr unsigned kIndexBits = 9;
  static constexpr unsigned kEntries = 1u << kIndexBits;
  static constexpr unsigned kTopLevel = 3;  // level 0 is a leaf
  static constexpr Address kEnd{uint64_t{1} << 48};

  // Of an address, to get its table's number at the level.
  static constexpr unsigned shift(unsigned level) noexcept {
    return kPageShift + kIndexBits * level;
  }

  // Takes over the root, a zeroed table frame.
  PageTable(FramePool& frames, Frame root) noexcept : frames_(frames), root_(root) {}
  // Gives all tables back. Asserts, in debug, that no entry is left.
  ~PageTable();
  PageTable(const PageTable&) = delete;
  PageTable& operator=(const PageTable&) = delete;

  // The entry for the address, or nothing when no table is there, when a huge entry is in its
  // place, or the address is beyond kEnd.
  [[nodiscard]] LeafSlot find(Address) const noexcept;
  // The same, splitting what is huge.
  [[nodiscard]] LeafSlot find_split(Address) const noexcept;
  // The entry for the address, making the tables that lack. Nothing: no memory, or it is huge.
  [[nodiscard]] LeafSlot ensure_unless_huge(Address) noexcept;
  // The same, splitting what is huge. Nothing: no memory.
  [[nodiscard]] LeafSlot ensure(Address) noexcept;

  // The huge entry that maps the address, or nothing. (huge_table.cpp)
  [[nodiscard]] HugeSlot find_huge(Address) const noexcept;
  // The place of such an entry, making the tables above it. Nothing: no memory.
  [[nodiscard]] HugeSlot ensure_huge(Address) noexcept;
  // A table to be kept with a huge entry, before any lock; and its end when there was no use for
  // it.
  [[nodiscard]] Frame alloc_kept() noexcept { return frames_.alloc(FrameUse::table, Fill::none); }
  void give_back_kept(Frame table) noexcept {
    frames_.give_back(table, FrameUse::table, Fill::none);
  }
  // Sets a huge entry, and keeps the table for it. The leaf table that was there, empty by now,
  // goes into `gather`.
  void put_huge(HugeSlot slot, PageEntry entry, Frame kept, FrameGather& gather) noexcept;
  // Takes a huge entry out, with a table; both empty: it is huge no more.
  struct Taken {
    PageEntry entry;
    Frame kept;
  };
  [[nodiscard]] Taken take_huge(HugeSlot slot) const noexcept;
  // Puts a leaf table with the same translations in place of a huge entry, if it still is one.
  void split(HugeSlot slot) const noexcept;

  // The first address of the next leaf table.
  static constexpr Address next_leaf(Address a) noexcept {
    return Address{((a.value >> shift(1)) + 1) << shift(1)};
  }

  // Calls visit(const LeafSpan&) for every leaf table that meets the range, lowest first. Huge
  // entries are split.
  template <class Visit>
  void for_each_leaf(Range range, Visit&& visit) const noexcept {
    for_each_leaf(range, visit, [this](HugeSlot slot, Range) {
      split(slot);
      return false;
    });
  }
  // The same, with visit_huge(HugeSlot, Range) for huge entries and all that they map. It answers
  // false to have the entry looked at again.
  template <class Visit, class VisitHuge>
  void for_each_leaf(Range range, Visit&& visit, VisitHuge&& visit_huge) const noexcept {
    range = range.intersection({Address{0}, kEnd});
    if (!range.empty()) walk(root_, kTopLevel, Address{0}, range, visit, visit_huge);
  }

  // Frees the tables that lie wholly in `limits` and meet `span`.
  void free_range(Range span, Range limits, FrameGather& gather) noexcept;

 private:
  using Slot = std::atomic<uint64_t>;

  static constexpr unsigned index_at(Address a, unsigned level) noexcept {
    return static_cast<unsigned>(a.value >> shift(level)) & (kEntries - 1);
  }
  Slot* slots(Frame table) const noexcept { return reinterpret_cast<Slot*>(frames_.data(table)); }
  static PageEntry descend(const Slot& slot) noexcept {
    return PageEntry::from_bits(EntryWord::descend(slot));
  }
  // What is found where there is no leaf.
  LeafSlot no_leaf(PageEntry entry, Frame table) const noexcept {
    return {nullptr, entry.is_huge() ? &frames_.meta(table).lock : nullptr};
  }
  LeafSlot leaf_slot(Frame leaf, Address a) const noexcept {
    return {slots(leaf) + index_at(a, 0), &frames_.meta(leaf).lock};
  }

  PageEntry make_table(Slot& slot) noexcept;
  void free_below(Frame table, unsigned level, Address base, Range span, Range limits,
                  FrameGather& gather) noexcept;
  void free_subtree(Frame table, unsigned level, FrameGather& gather) noexcept;

  template <class Visit, class VisitHuge>
  void walk(Frame table, unsigned level, Address base, Range range, Visit& visit,
            VisitHuge& visit_huge) const noexcept {
    const Address last{range.end.value - 1};
    const uint64_t covered = uint64_t{kEntries} << shift(level);
    const unsigned first = range.start > base ? index_at(range.start, level) : 0;
    const unsigned end = last.value - base.value < covered ? index_at(last, level) + 1 : kEntries;
    if (level == 0) {
      visit(LeafSpan{slots(table), &frames_.meta(table).lock, first, end,
                     base + (uint64_t{first} << shift(0))});
      return;
    }
    for (unsigned i = first; i < end; i++) {
      const Address start = base + (uint64_t{i} << shift(level));
      PageEntry entry = descend(slots(table)[i]);
      while (entry.is_huge() &&
             !visit_huge(HugeSlot(&slots(table)[i], &frames_.meta(table)), huge_range(start))) {
        entry = descend(slots(table)[i]);
      }
      if (entry.is_table()) walk(entry.frame(), level - 1, start, range, visit, visit_huge);
    }
  }

  FramePool& frames_;
  const Frame root_;
};

}  // namespace pervma

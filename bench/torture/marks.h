// marks.h: what the owner of each page says about it, for others to compare with what they see.
//
// A page has one owner, the only thread that changes its mapping. Its mark is one word:
//
//   bits 16..63   stamp: odd while the owner is changing the page, even otherwise
//   bits 0..15    what the page is while the stamp is even: PageState
//
// The owner makes the stamp odd before an operation that must write-lock the page's VMA, and even
// after it, with the new state; where it fails and changes nothing, it takes the first step back.
// So:
//
// (1) Two equal even marks, one read before a look at the space and one after it: the look saw a
//     space in which this page was in that state.
// (2) While a VMA is held for read, none of its pages can be changed: an operation may begin
//     meanwhile, but not end. At most one may have begun before the hold and end in it, having had
//     the VMA before. So the stamp rises by less than 2 from an even one, less than 3 from an odd
//     one.
//
// All is relaxed: the locks under test are what orders it, and TSan must not get an order from here
// that it would miss there. If they do exclude, coherence of one word is enough for (2).
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "pervma/address.h"
#include "pervma/fault.h"
#include "pervma/mapping.h"
#include "pervma/vma_info.h"

namespace pervma::torture {

// The part of a page's state that everybody can see in its VMA.
class PageState {
 public:
  constexpr PageState() noexcept = default;
  static constexpr PageState of(VmaFlags f) noexcept {
    PageState s;
    s.bits_ = kMapped;
    for (const Seen& seen : kSeen) s.bits_ |= f.has(seen.flag) ? seen.bit : 0u;
    return s;
  }
  static constexpr PageState from_bits(uint64_t bits) noexcept {
    PageState s;
    s.bits_ = static_cast<unsigned>(bits);
    return s;
  }

  constexpr bool is_mapped() const noexcept { return (bits_ & kMapped) != 0; }
  constexpr uint64_t bits() const noexcept { return bits_; }
  // What an access to the page gives.
  constexpr FaultOutcome outcome(Access a) const noexcept {
    if (!is_mapped()) return FaultOutcome::map_error;
    const unsigned needed = a == Access::write ? kWrite : kRead;
    return (bits_ & needed) != 0 ? FaultOutcome::resolved : FaultOutcome::access_error;
  }
  friend constexpr bool operator==(PageState, PageState) noexcept = default;

 private:
  static constexpr unsigned kMapped = 1;
  static constexpr unsigned kRead = 2;
  static constexpr unsigned kWrite = 4;
  struct Seen {
    VmaFlag flag;
    unsigned bit;
  };
  static constexpr Seen kSeen[] = {
      {VmaFlag::read, kRead},    {VmaFlag::write, kWrite},     {VmaFlag::locked, 8},
      {VmaFlag::dont_copy, 16},  {VmaFlag::sequential, 32},    {VmaFlag::random, 64},
      {VmaFlag::dont_dump, 128}, {VmaFlag::wipe_on_fork, 256}, {VmaFlag::mergeable, 512}};

  unsigned bits_ = 0;
};

// A mark as it was read.
struct MarkValue {
  uint64_t word;

  constexpr uint64_t stamp() const noexcept { return word >> 16; }
  constexpr bool is_changing() const noexcept { return (stamp() & 1) != 0; }
  constexpr PageState state() const noexcept { return PageState::from_bits(word & 0xffff); }
  // Rule (1): nothing was changed between two readings.
  static constexpr bool stable(MarkValue before, MarkValue after) noexcept {
    return before.word == after.word && !before.is_changing();
  }
  // Rule (2): whether a hold between two readings can have been one.
  static constexpr bool may_be_held(MarkValue begin, MarkValue end) noexcept {
    const auto risen = static_cast<int64_t>(end.stamp() - begin.stamp());
    return risen < (begin.is_changing() ? 3 : 2);
  }
};

class Mark {
 public:
  MarkValue read() const noexcept { return {word_.load(std::memory_order_relaxed)}; }
  // The owner's.
  void begin() noexcept { word_.fetch_add(uint64_t{1} << 16, std::memory_order_relaxed); }
  // Nothing was changed after all.
  void cancel() noexcept { word_.fetch_sub(uint64_t{1} << 16, std::memory_order_relaxed); }
  void end(PageState s) noexcept {
    const uint64_t stamp = (word_.load(std::memory_order_relaxed) >> 16) + 1;
    word_.store(stamp << 16 | s.bits(), std::memory_order_relaxed);
  }

 private:
  std::atomic<uint64_t> word_{0};
};

// The pages of all owners, one lot after the other without a gap, so that VMAs of different owners
// merge.
class Arena {
 public:
  static constexpr uint64_t kLotPages = 40;
  static constexpr Address kBase{(uint64_t{1} << 36) - 60 * kPageSize};  // crosses page tables

  explicit Arena(unsigned lots) : marks_(lots * kLotPages) {}

  uint64_t pages() const noexcept { return marks_.size(); }
  Range range() const noexcept { return {kBase, kBase + pages() * kPageSize}; }
  Mark& mark(uint64_t page) noexcept { return marks_[page]; }
  const Mark& mark(uint64_t page) const noexcept { return marks_[page]; }
  static Address at(uint64_t page) noexcept { return kBase + page * kPageSize; }
  static uint64_t page_of(Address a) noexcept { return (a - kBase) >> kPageShift; }
  static unsigned owner_of(uint64_t page) noexcept {
    return static_cast<unsigned>(page / kLotPages);
  }

 private:
  std::vector<Mark> marks_;
};

}  // namespace pervma::torture

// range_cell.h: one range of a RangeMap, its lock, its value, and the copy that needs no lock.
//
//   vm_refcnt             as in sync/vma_lock_refcount.h, and besides:
//   kRetired + kExclude + n   retired with n readers left; no new ones; the mark stays what it was
//   kRetired + kExclude   retired, and nobody is inside: whoever's step led here owns the range
//
// What can no longer happen: from kRetired on the count only falls, each reader that leaves takes
// one, so exactly one step leads to kRetired + kExclude: the retiring writer's own, or the last
// reader's. Its thread runs the hook, destroys the value, takes the mark and the count back, and
// frees the cell.
//
// field          written                                      read
// first, last    while write-locked or detached; last, too,   under a pin or the map lock; by a
//                as the link of a free cell                   copy, which checks afterwards
// words          as first (trivially copyable values), or     as first
//                as any C++ object: never looked at by a copy
// lock parts     by the lock's table                          anyone (atomics)
//
// The copy. A write lock marks the range with the sequence of its hold, which no later hold of the
// map repeats: the mark is a version of the range. A reader that finds the mark old (not of a hold
// that is still in), the count attached, and the mark unchanged after its copy has a copy that was
// whole at one moment; the map's sequence may move on meanwhile. A cell that was freed and came
// back has another mark: it is set before anything is written (fence [G1]).
#pragma once

#include <cstddef>
#include <cstdint>

#include "sync/mmap_lock.h"
#include "sync/vma_lock_refcount.h"

namespace pervma {

enum class CopyTry : uint8_t {
  copied,     // the copy was whole at one moment; its bounds tell whether it is the right range
  contended,  // a writer is, or was, in the way; or the range is on its way out
  detached,   // the range is not in the map any more
};

template <class P>
struct RangeCell {
  using Lock = BasicRefcountLock<P>;
  using Word = typename P::template Atomic<uint64_t>;

  static constexpr uint32_t kMaxWords = 8;

  typename Lock::Near near;
  Word first{0};
  Word last{0};
  typename Lock::Far far;

  // The value follows the head.
  Word* words() noexcept { return reinterpret_cast<Word*>(this + 1); }
  const Word* words() const noexcept { return reinterpret_cast<const Word*>(this + 1); }
  void* storage() noexcept { return this + 1; }

  uint64_t first_index() const noexcept { return first.load(std::memory_order_relaxed); }
  uint64_t last_index() const noexcept { return last.load(std::memory_order_relaxed); }
  bool holds(uint64_t index) const noexcept {
    return first_index() <= index && index <= last_index();
  }

  // While write-locked or detached.
  void set_bounds(uint64_t new_first, uint64_t new_last) noexcept {
    first.store(new_first, std::memory_order_relaxed);
    last.store(new_last, std::memory_order_relaxed);
  }

  // A free cell's link. A copy may look at it, and finds out that the cell is free.
  void* free_next() const noexcept { return reinterpret_cast<void*>(last_index()); }
  void set_free_next(void* next) noexcept {
    last.store(reinterpret_cast<uint64_t>(next), std::memory_order_relaxed);
  }

  // The link of a retired range on its way out, whose bounds the hook is still to be told: nobody
  // can come to look at the owner any more.
  RangeCell* out_next() const noexcept {
    return reinterpret_cast<RangeCell*>(const_cast<typename Lock::Space*>(near.owner));
  }
  void set_out_next(RangeCell* next) noexcept {
    near.owner = reinterpret_cast<const typename Lock::Space*>(next);
  }

  // After the mark of a write lock, before the first store to first, last or words.
  static void open_for_writing() noexcept {
    P::fence(P::order(Site::copy_open, std::memory_order_release));  // [G1] pairs with [G2]
  }

  // Copies first, last and `count` words to `to`. Inside RCU; wait-free, and writes nothing.
  static CopyTry copy(const RangeCell& cell, const typename Lock::Space& map, const Word* words,
                      uint32_t count, uint64_t* to) noexcept {
    // A cell may begin in one line and end in another.
    __builtin_prefetch(&cell.far);
    const uint64_t mark = cell.near.vm_lock_seq.load(
        P::order(Site::copy_mark, std::memory_order_acquire));  // [G4] pairs with [S5]
    // Who sees the mark of a hold sees at least its sequence; and a hold that has ended shows all
    // it wrote, a detach among it.
    if (P::keep(Site::copy_compares_seq) && mark == map.seq_acquire()) return CopyTry::contended;
    if (P::keep(Site::copy_refuses_unmarked) && mark == Lock::kNever) return CopyTry::contended;
    // Relaxed: a count from before says no more than a mark from before, and with an old mark the
    // copy is of the life that was.
    const uint32_t n = cell.far.vm_refcnt.load(std::memory_order_relaxed);
    if (P::keep(Site::copy_refuses_detached) && n == 0) return CopyTry::detached;
    if (P::keep(Site::copy_refuses_exclude) && n >= Lock::kExclude) return CopyTry::contended;
    to[0] = cell.first_index();
    to[1] = cell.last_index();
    for (uint32_t i = 0; i < count; ++i) to[2 + i] = words[i].load(std::memory_order_relaxed);
    P::fence(P::order(Site::copy_fence, std::memory_order_acquire));  // [G2] pairs with [G1]
    if (P::keep(Site::copy_compares_again) &&
        cell.near.vm_lock_seq.load(std::memory_order_relaxed) != mark) {
      return CopyTry::contended;
    }
    return CopyTry::copied;
  }
};

// A cell with room for its value.
template <class P, uint32_t kWords>
struct SizedRangeCell : RangeCell<P> {
  typename RangeCell<P>::Word value[kWords]{};
};

}  // namespace pervma

// range_lookup.h: the reading side of BasicRangeCore.
//
// A lookup walks the tree under RCU, pins what it finds, and compares the bounds. It never waits
// unless a writer is in the way; then it takes the map lock for read, under which every answer is
// certain. "Nothing there" has no bounds to compare: it is believed when no writer was in between,
// or under the map lock.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "range/range_core.h"

namespace pervma {

// The tree's answer is a hint; the count makes the range stay, its bounds tell whether it is the
// right one.
template <class P>
[[gnu::always_inline]] inline auto BasicRangeCore<P>::attempt(uint64_t index) noexcept -> Attempt {
  const RcuReader rcu;
  Cell* const cell = static_cast<Cell*>(tree_.load(index));
  if (cell == nullptr) return {Found::nothing, nullptr};
  const auto tried = Lock::begin_read(cell->near, cell->far, lock_);
  if (tried.outcome == ReadTry::locked) [[likely]] {
    if (cell->holds(index)) [[likely]]
      return {Found::pinned, cell};
    Lock::end_read(cell->far, tried.token);
    return {Found::contended, nullptr};
  }
  return {tried.outcome == ReadTry::detached ? Found::detached : Found::contended, nullptr};
}

// True: at one moment of the call nothing was there.
template <class P>
bool BasicRangeCore<P>::is_surely_empty(uint64_t index) noexcept {
  const RcuReader rcu;
  const std::optional<uint64_t> seq = lock_.speculate_try_begin();
  return seq && tree_.load(index) == nullptr && !lock_.speculate_retry(*seq);
}

template <class P>
inline auto BasicRangeCore<P>::find(uint64_t index, const Stop& stop) noexcept -> Pin {
  // Mostly the thread holds nothing, and what is there is free.
  if (t_held_maps.empty()) [[likely]] {
    const Attempt a = attempt(index);
    if (a.found == Found::pinned) [[likely]] {
      t_held_maps.add_first_guard(this);
      return {a.cell, 0};
    }
    end_last_out();
  }
  return find_after_all(index, stop);
}

template <class P>
auto BasicRangeCore<P>::find_after_all(uint64_t index, const Stop& stop) noexcept -> Pin {
  if (t_held_maps.holds(this)) return {nullptr, EDEADLK};
  if (!t_held_maps.has_room(this)) return {nullptr, ENOMEM};
  const Pin tried = try_find(index);
  return tried.error == EAGAIN ? find_slowly(index, index, false, stop) : tried;
}

template <class P>
auto BasicRangeCore<P>::try_find(uint64_t index) noexcept -> Pin {
  // In its own writer section a thread could next wait for itself.
  if (t_held_maps.writes(this) || !t_held_maps.has_room(this)) return {nullptr, EAGAIN};
  for (int misses = 0; misses <= kMaxMisses; ++misses) {
    const Attempt a = attempt(index);
    if (a.found == Found::pinned) return note(a.cell);
    end_last_out();
    if (a.found == Found::nothing && is_surely_empty(index)) return {nullptr, ENOENT};
    if (a.found != Found::detached) break;
  }
  return {nullptr, EAGAIN};
}

template <class P>
auto BasicRangeCore<P>::first_from(uint64_t from, uint64_t last) const noexcept -> Cell* {
  MapleTree::Cursor cursor(tree_, from);
  return static_cast<Cell*>(cursor.find(from, last));
}

// The first range from an index on. What lies before it, and that there is none, is believed only
// when no writer was in between: one range may have shrunk and another appeared.
template <class P>
auto BasicRangeCore<P>::attempt_next(uint64_t from, uint64_t last) noexcept -> Attempt {
  const RcuReader rcu;
  const std::optional<uint64_t> seq = lock_.speculate_try_begin();
  if (!seq) return {Found::contended, nullptr};
  Cell* const cell = first_from(from, last);
  if (cell == nullptr) {
    return {lock_.speculate_retry(*seq) ? Found::contended : Found::nothing, nullptr};
  }
  const auto tried = Lock::begin_read(cell->near, cell->far, lock_);
  if (tried.outcome != ReadTry::locked) return {Found::contended, nullptr};
  if (cell->holds(from) || (cell->first_index() > from && !lock_.speculate_retry(*seq))) {
    if (cell->first_index() <= last) return {Found::pinned, cell};
    Lock::end_read(cell->far, tried.token);
    return {Found::nothing, nullptr};
  }
  Lock::end_read(cell->far, tried.token);
  return {Found::contended, nullptr};
}

template <class P>
auto BasicRangeCore<P>::find_next(uint64_t from, uint64_t last, const Stop& stop) noexcept -> Pin {
  if (from > last) return {nullptr, ENOENT};
  if (t_held_maps.holds(this)) return {nullptr, EDEADLK};
  if (!t_held_maps.has_room(this)) return {nullptr, ENOMEM};
  const Attempt a = attempt_next(from, last);
  if (a.found == Found::pinned) return note(a.cell);
  end_last_out();
  if (a.found == Found::nothing) return {nullptr, ENOENT};
  return find_slowly(from, last, true, stop);
}

// Under the map lock for read: no writer is in, so a range that is found is attached and unmarked.
template <class P>
auto BasicRangeCore<P>::find_slowly(uint64_t from, uint64_t last, bool next,
                                    const Stop& stop) noexcept -> Pin {
  const auto held = BasicMmapRead<P>::lock_killable(lock_, stop);
  if (!held) return {nullptr, EINTR};
  Cell* const cell = next ? first_from(from, last) : at(from);
  if (cell == nullptr) return {nullptr, ENOENT};
  // Only the limit of readers can refuse: one of them will leave.
  while (Lock::start_read_locked(cell->near, cell->far, lock_).outcome != ReadTry::locked) {
    cpu_relax();
  }
  return note(cell);
}

template <class P>
[[gnu::always_inline]] inline CopyTry BasicRangeCore<P>::attempt_copy(uint64_t index, uint64_t* to,
                                                                      bool* nothing) noexcept {
  const RcuReader rcu;
  const Cell* const cell = static_cast<const Cell*>(tree_.load(index));
  if (cell == nullptr) {
    *nothing = true;
    return CopyTry::contended;
  }
  const CopyTry tried = Cell::copy(*cell, lock_, cell->words(), ops_.words, to);
  if (tried != CopyTry::copied) return tried;
  return to[0] <= index && index <= to[1] ? CopyTry::copied : CopyTry::contended;
}

template <class P>
int BasicRangeCore<P>::try_copy(uint64_t index, uint64_t* to) noexcept {
  for (int misses = 0; misses <= kMaxMisses; ++misses) {
    bool nothing = false;
    const CopyTry tried = attempt_copy(index, to, &nothing);
    if (tried == CopyTry::copied) [[likely]]
      return 0;
    if (nothing && is_surely_empty(index)) return ENOENT;
    if (tried != CopyTry::detached) break;
  }
  return EAGAIN;
}

template <class P>
inline int BasicRangeCore<P>::copy(uint64_t index, uint64_t* to, const Stop& stop) noexcept {
  if (t_held_maps.empty()) [[likely]] {
    bool nothing = false;
    if (attempt_copy(index, to, &nothing) == CopyTry::copied) [[likely]]
      return 0;
  }
  return copy_after_all(index, to, stop);
}

template <class P>
int BasicRangeCore<P>::copy_after_all(uint64_t index, uint64_t* to, const Stop& stop) noexcept {
  if (t_held_maps.holds(this)) return EDEADLK;
  const int tried = try_copy(index, to);
  if (tried != EAGAIN) return tried;
  const auto held = BasicMmapRead<P>::lock_killable(lock_, stop);
  if (!held) return EINTR;
  const Cell* const cell = at(index);
  if (cell == nullptr) return ENOENT;
  to[0] = cell->first_index();
  to[1] = cell->last_index();
  for (uint32_t i = 0; i < ops_.words; ++i) {
    to[2 + i] = cell->words()[i].load(std::memory_order_relaxed);
  }
  return 0;
}

template <class P>
inline void BasicRangeCore<P>::unpin(Cell* cell) noexcept {
  hand_over(cell);
  drop(cell);
}

template <class P>
inline void BasicRangeCore<P>::hand_over(const Cell*) noexcept {
  if (!t_held_maps.remove_guard(this)) [[unlikely]] {
    std::fputs("pervma: a RangeMap guard was released by a thread that did not take it\n", stderr);
    std::abort();
  }
}

template <class P>
inline void BasicRangeCore<P>::drop(Cell* cell) noexcept {
  Lock::end_read(cell->far, {});
  end_last_out();
}

template <class P>
auto BasicRangeCore<P>::cell_of(typename P::template Atomic<uint32_t>& count) noexcept -> Cell& {
  return *reinterpret_cast<Cell*>(reinterpret_cast<char*>(&count) - offsetof(Cell, far));
}

// This thread owns the cell that it was the last to leave: nobody else has a way to it.
template <class P>
void BasicRangeCore<P>::reclaim_last_out() noexcept {
  Cell& cell = cell_of(*std::exchange(t_last_out, nullptr));
  end_value(cell, true);
  reclaim_retired(cell);
  cache_->free(&cell);
  retired_.out();
}

template <class P>
int BasicRangeCore<P>::find_gap(Range window, uint64_t bytes, GapSide side, const Stop& stop,
                                uint64_t* where) noexcept {
  if (window.empty() || bytes == 0) return EINVAL;
  if (t_held_maps.holds(this)) return EDEADLK;
  const auto held = BasicMmapRead<P>::lock_killable(lock_, stop);
  if (!held) return EINTR;
  const std::optional<uint64_t> found = gap(window, bytes, side);
  if (!found) return ENOENT;
  *where = *found;
  return 0;
}

template <class P>
RangeMapStats BasicRangeCore<P>::stats() const noexcept {
  const CacheStats cells = cache_->stats();
  return {.ranges = ranges_.load(std::memory_order_relaxed),
          .retired = retired_.value(),
          .bytes = cells.bytes + nodes_.stats().bytes};
}

}  // namespace pervma

// range_writer.h: the writing side of BasicRangeCore. Every member runs inside a writer section:
// the map lock is held for write by this thread.
//
// Each change does first all that can fail or wait (memory for the tree, the wait for the readers
// of what it touches), then what cannot. What is marked stays marked until the section ends.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "range/range_core.h"

namespace pervma {

template <class P>
int BasicRangeCore<P>::begin_write(const Stop& stop) noexcept PERVMA_NO_ANALYSIS {
  if (t_held_maps.holds(this)) return EDEADLK;
  if (!t_held_maps.has_room(this)) return ENOMEM;
  if (stop.stop_possible()) {
    if (!lock_.lock_write(stop)) return EINTR;
  } else {
    lock_.lock_write();
  }
  t_held_maps.begin_write(this);
  return 0;
}

template <class P>
void BasicRangeCore<P>::end_write() noexcept PERVMA_NO_ANALYSIS {
  if (!t_held_maps.end_write(this)) {
    std::fputs("pervma: a RangeMap section was ended by a thread that did not begin it\n", stderr);
    std::abort();
  }
  leave_section();
}

template <class P>
void BasicRangeCore<P>::leave_section() noexcept PERVMA_NO_ANALYSIS {
  if (reserved_) end_reservation();
  // What runs code of the map's owner, and what may wait for readers, runs without the lock.
  const MapleTree::Leftovers leftovers = tree_.take_leftovers();
  RangeCellList<P> dead = std::exchange(dead_, {});
  Cell* retired = std::exchange(dead_retired_, nullptr);
  lock_.unlock_write();
  while (Cell* const cell = dead.pop()) {
    end_value(*cell, false);
    cache_->free(cell);
  }
  while (retired != nullptr) {
    Cell* const cell = std::exchange(retired, retired->out_next());
    end_value(*cell, true);
    reclaim_retired(*cell);
    cache_->free(cell);
  }
  nodes_.use_huge_pages();
  cache_->use_huge_pages();
}

template <class P>
void BasicRangeCore<P>::end_value(Cell& cell, bool retired) noexcept {
  if (retired && ops_.retired != nullptr) {
    ops_.retired(ops_.context, range_of(cell), cell.storage());
  }
  if (ops_.destroy != nullptr) ops_.destroy(ops_.context, cell.storage());
}

template <class P>
auto BasicRangeCore<P>::make() noexcept -> Cell* {
  Cell* cell = stock_.pop();
  if (cell == nullptr) cell = cache_->alloc();
  if (cell == nullptr) return nullptr;
  Lock::init(cell->near, cell->far, lock_);
  // Detached: marks, and waits for nobody.
  (void)Lock::lock_write(cell->near, cell->far, lock_);
  Cell::open_for_writing();
  return cell;
}

template <class P>
void BasicRangeCore<P>::give_back(Cell* cell) noexcept {
  if (stock_.size() < kStockMax) {
    stock_.push(cell);
  } else {
    cache_->free(cell);
  }
}

// False: a stop was requested while readers were inside; nothing changed.
template <class P>
bool BasicRangeCore<P>::lock(Cell& cell, const Stop& stop) noexcept {
  if (Lock::is_write_locked(cell.near, lock_)) return true;
  if (!Lock::lock_write(cell.near, cell.far, lock_, stop)) return false;
  Cell::open_for_writing();
  return true;
}

// Out of the map; its value and memory end with the section.
template <class P>
void BasicRangeCore<P>::detach(Cell& cell) noexcept {
  Lock::detach(cell.near, cell.far, lock_);
  add_ranges(-1);
  bury(cell);
}

// A detached, marked range whose value is not needed any more.
template <class P>
void BasicRangeCore<P>::bury(Cell& cell) noexcept {
  if (ops_.destroy == nullptr) {
    give_back(&cell);
  } else {
    dead_.push(&cell);
  }
}

template <class P>
void BasicRangeCore<P>::reclaim_retired(Cell& cell) noexcept {
  Lock::reclaim_retired(cell.near, cell.far);
  Cell::open_for_writing();  // The link of a free cell is such a store.
}

template <class P>
int BasicRangeCore<P>::insert(Cell* cell, Range where, const Stop& stop) noexcept {
  if (where.empty()) return EINVAL;
  if (ops_.may_merge != nullptr) {
    bool done = false;
    const int error = insert_merged(cell, where, stop, &done);
    if (error != 0 || done) return error;
  }
  return place(cell, where);
}

template <class P>
int BasicRangeCore<P>::place(Cell* cell, Range where) noexcept {
  if (where.empty()) return EINVAL;
  const uint64_t first = where.start.value;
  const uint64_t last = where.end.value - 1;
  if (!tree_.has_stock_for_one()) return ENOMEM;
  cell->set_bounds(first, last);
  // A reader that finds it before the attach finds it detached, as one that is on its way out.
  if (!tree_.store_if_empty_reserved(first, last, cell)) return EEXIST;
  Lock::attach(cell->near, cell->far, lock_);
  add_ranges(1);
  return 0;
}

// Lets a neighbour grow over the new range, and the other one join, where the rule allows it.
template <class P>
int BasicRangeCore<P>::insert_merged(Cell* cell, Range where, const Stop& stop,
                                     bool* done) noexcept {
  const uint64_t first = where.start.value;
  const uint64_t last = where.end.value - 1;
  if (first_from(first, last) != nullptr) return EEXIST;
  cell->set_bounds(first, last);
  Cell* const left = first > 0 ? at(first - 1) : nullptr;
  Cell* const right = at(last + 1);
  const bool with_left = left != nullptr && may_merge(*left, *cell);
  const bool with_right = right != nullptr && may_merge(*cell, *right);
  if (!with_left && !with_right) return 0;
  if (!tree_.has_stock_for_one()) return ENOMEM;
  if (with_left && !lock(*left, stop)) return EINTR;
  if (with_right && !lock(*right, stop)) return EINTR;
  const uint64_t to = with_right ? right->last_index() : last;
  // The leftmost one's value stays: with only a right neighbour that is the new one's.
  Cell* const survivor = with_left ? left : cell;
  survivor->set_bounds(survivor->first_index(), to);
  tree_.store_reserved(survivor->first_index(), to, survivor);
  if (with_left) {
    bury(*cell);  // It ends as one that was in the map.
  } else {
    Lock::attach(cell->near, cell->far, lock_);
    add_ranges(1);
  }
  if (with_right) detach(*right);
  *done = true;
  return 0;
}

template <class P>
bool BasicRangeCore<P>::may_merge(const Cell& left, const Cell& right) const noexcept {
  return ops_.may_merge(ops_.rule, range_of(left), left.words(), range_of(right), right.words());
}

template <class P>
int BasicRangeCore<P>::split(uint64_t index, Cell* right, const Stop& stop) noexcept {
  Cell* const left = at(index);
  if (left == nullptr) return ENOENT;
  if (left->first_index() == index) return EEXIST;  // There is a boundary already.
  if (!tree_.has_stock_for_one()) return ENOMEM;
  if (!lock(*left, stop)) return EINTR;
  const uint64_t last = left->last_index();
  right->set_bounds(index, last);
  Lock::attach(right->near, right->far, lock_);
  left->set_bounds(left->first_index(), index - 1);
  tree_.store_reserved(index, last, right);
  add_ranges(1);
  return 0;
}

template <class P>
int BasicRangeCore<P>::join(Cell& left, Cell& right, const Stop& stop) noexcept {
  if (!tree_.has_stock_for_one()) return ENOMEM;
  if (!lock(left, stop) || !lock(right, stop)) return EINTR;
  const uint64_t first = left.first_index();
  const uint64_t last = right.last_index();
  left.set_bounds(first, last);
  tree_.store_reserved(first, last, &left);
  detach(right);
  return 0;
}

template <class P>
int BasicRangeCore<P>::merge(uint64_t index, const Stop& stop) noexcept {
  Cell* const left = index > 0 ? at(index - 1) : nullptr;
  Cell* const right = at(index);
  if (left == nullptr || right == nullptr) return ENOENT;
  if (left == right) return EINVAL;  // No boundary.
  return join(*left, *right, stop);
}

template <class P>
auto BasicRangeCore<P>::open(uint64_t index, const Stop& stop) noexcept -> Pin {
  Cell* const cell = at(index);
  if (cell == nullptr) return {nullptr, ENOENT};
  if (!lock(*cell, stop)) return {nullptr, EINTR};
  return {cell, 0};
}

template <class P>
void BasicRangeCore<P>::settle(Cell* cell, const Stop& stop) noexcept {
  if (ops_.may_merge == nullptr) return;
  const uint64_t first = cell->first_index();
  Cell* const right = at(cell->last_index() + 1);
  if (right != nullptr && may_merge(*cell, *right)) (void)join(*cell, *right, stop);
  Cell* const left = first > 0 ? at(first - 1) : nullptr;
  if (left != nullptr && may_merge(*left, *cell)) (void)join(*left, *cell, stop);
}

template <class P>
auto BasicRangeCore<P>::next(uint64_t from, uint64_t last) noexcept -> Cell* {
  return from > last ? nullptr : first_from(from, last);
}

template <class P>
int BasicRangeCore<P>::erase(Range where, const Stop& stop, size_t* count) noexcept {
  *count = 0;
  if (where.empty()) return EINVAL;
  const uint64_t end = where.end.value - 1;
  // Mostly one range.
  Cell* const only = at(where.start.value);
  if (only != nullptr && only->last_index() >= end) {
    if (!tree_.has_stock_for_one()) return ENOMEM;
    if (!lock(*only, stop)) return EINTR;
    tree_.erase_reserved(only->first_index(), only->last_index());
    detach(*only);
    *count = 1;
    return 0;
  }
  MapleTree::Cursor cursor(tree_);
  auto* const head = static_cast<Cell*>(cursor.find(where.start.value, end));
  if (head == nullptr) return 0;
  if (!tree_.has_stock_for_one()) return ENOMEM;
  Cell* tail = nullptr;
  for (Cell* cell = head; cell != nullptr; cell = static_cast<Cell*>(cursor.next(end))) {
    if (!lock(*cell, stop)) return EINTR;
    tail = cell;
    ++*count;
  }
  const uint64_t first = head->first_index();
  const uint64_t last = tail->last_index();
  // Detached first, while the tree still leads from one to the next. A reader that meets one looks
  // again, and then waits for this section's end.
  cache_->hold_slabs();
  cursor.reset(first);
  while (void* entry = cursor.next(last)) {
    detach(*static_cast<Cell*>(entry));
    P::hook(Hook::range_still_in_tree);
  }
  tree_.erase_reserved(first, last);
  cache_->let_slabs_go();
  return 0;
}

template <class P>
int BasicRangeCore<P>::retire(Range where, size_t* count) noexcept {
  *count = 0;
  if (where.empty()) return EINVAL;
  const uint64_t end = where.end.value - 1;
  // Mostly one range. The tree forgets it first: nobody finds what its last holder frees.
  Cell* const only = at(where.start.value);
  if (only != nullptr && only->last_index() >= end) {
    if (!tree_.has_stock_for_one()) return ENOMEM;
    tree_.erase_reserved(only->first_index(), only->last_index());
    retire_out(*only);
    *count = 1;
    return 0;
  }
  if (first_from(where.start.value, end) == nullptr) return 0;
  if (!tree_.has_stock_for_one()) return ENOMEM;
  MapleTree::Cursor cursor(tree_, where.start.value);
  uint64_t first = kMapleMax;
  uint64_t last = 0;
  cache_->hold_slabs();
  while (void* entry = cursor.next(end)) {
    // From the tree: the range may be freed from the step on.
    first = std::min(first, cursor.first());
    last = cursor.last();
    ++*count;
    retire_out(*static_cast<Cell*>(entry));
    P::hook(Hook::range_still_in_tree);
  }
  tree_.erase_reserved(first, last);
  cache_->let_slabs_go();
  return 0;
}

// Of the map. Who is inside stays, and the last of them ends the range.
template <class P>
void BasicRangeCore<P>::retire_out(Cell& cell) noexcept {
  add_ranges(-1);
  retired_.in();
  if (!Lock::retire_attached(cell.far)) return;
  retired_.take_back();
  retire_now(cell);
}

// A retired range with nobody inside.
template <class P>
void BasicRangeCore<P>::retire_now(Cell& cell) noexcept {
  if (ops_.destroy == nullptr && ops_.retired == nullptr) {
    reclaim_retired(cell);
    give_back(&cell);
    return;
  }
  cell.set_out_next(dead_retired_);
  dead_retired_ = &cell;
}

template <class P>
bool BasicRangeCore<P>::reserve(size_t ranges) noexcept {
  reserved_ = true;  // What a failure leaves over goes with the section, too.
  while (stock_.size() < ranges) {
    Cell* const cell = cache_->alloc();
    if (cell == nullptr) return false;
    stock_.push(cell);
  }
  return tree_.has_stock_for(static_cast<unsigned>(ranges));  // A larger one goes on.
}

template <class P>
void BasicRangeCore<P>::end_reservation() noexcept {
  reserved_ = false;
  (void)tree_.reserve(0);
  while (stock_.size() > kStockMax) cache_->free(stock_.pop());
}

template <class P>
std::optional<uint64_t> BasicRangeCore<P>::gap(Range window, uint64_t bytes,
                                               GapSide side) noexcept {
  if (window.empty() || bytes == 0) return std::nullopt;
  const uint64_t first = window.start.value;
  const uint64_t last = window.end.value - 1;
  return side == GapSide::lowest ? tree_.find_gap_lowest(first, last, bytes)
                                 : tree_.find_gap_highest(first, last, bytes);
}

}  // namespace pervma

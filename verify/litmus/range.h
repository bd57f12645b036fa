// range.h: one range of a RangeMap, for the plain harnesses.
#pragma once

#include "platform.h"
#include "range/range_cell.h"
#include "sync/mmap_lock_slow.h"

namespace pervma::litmus {

// Whether this thread was the last out of the retired range.
inline thread_local bool last_out = false;

struct CellPlatform : LitmusPlatform {
  static void last_out(Atomic<uint32_t>&) { litmus::last_out = true; }
};
using Map = BasicMmapLock<CellPlatform>;
using Cell = SizedRangeCell<CellPlatform, 1>;

struct RangeInMap {
  using Lock = Cell::Lock;
  Map map;
  Cell cell;
  uint64_t value = 10;  // of a type that no copy may look at

  void fill(uint64_t to) {
    cell.set_bounds(to, to);
    cell.value[0].store(to, std::memory_order_relaxed);
  }
  void attach(uint64_t to) {
    (void)Lock::init(cell.near, cell.far, map);
    (void)Lock::lock_write(cell.near, cell.far, map);
    Cell::open_for_writing();
    fill(to);
    Lock::attach(cell.near, cell.far, map);
  }
  void make(uint64_t to) {
    map.lock_write();
    attach(to);
    map.unlock_write();
  }
  // By whoever owns the retired range.
  void end_range() {
    assert(value == 10);
    value = 0;
    Lock::reclaim_retired(cell.near, cell.far);
    Cell::open_for_writing();
    cell.set_free_next(nullptr);
  }
  void read() {
    const auto attempt = Lock::begin_read(cell.near, cell.far, map);
    if (attempt.outcome == ReadTry::locked) {
      assert(value == 10);
      Lock::end_read(cell.far, attempt.token);
    }
    if (last_out) end_range();
  }
  void retire() {
    map.lock_write();
    if (Lock::retire_attached(cell.far)) end_range();
    map.unlock_write();
  }
  void write(uint64_t to) {
    map.lock_write();
    (void)Lock::lock_write(cell.near, cell.far, map);
    Cell::open_for_writing();
    fill(to);
    map.unlock_write();
  }
  void detach() {
    map.lock_write();
    (void)Lock::lock_write(cell.near, cell.far, map);
    Cell::open_for_writing();
    Lock::detach(cell.near, cell.far, map);
    cell.set_free_next(nullptr);
    map.unlock_write();
  }
  // A copy is whole, and of one of the two lives or values.
  void copy() {
    uint64_t to[3];
    if (Cell::copy(cell, map, cell.value, 1, to) != CopyTry::copied) return;
    assert(to[0] == to[1] && to[1] == to[2]);
    assert(to[0] == 10 || to[0] == 20);
  }
};

}  // namespace pervma::litmus

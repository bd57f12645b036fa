// range_core.h: the body of a RangeMap, for values whose type it does not know. A map lock with its
// sequence, the maple tree, and a lock in every range: the same as an address space is made of.
//
// State of a range: free (count 0, in the cache) -> made (count 0, marked, its maker's) -> attached
// (in the tree) -> detached -> free; or attached -> retired -> free. Lock order: map lock, then
// ranges. A thread that holds a guard waits for nothing of the map; HeldMaps sees to it.
//
// What a thread removed in a writer section is on the section's list `dead_` until the section's
// end: values are destroyed, and hooks called, after the map lock is released.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "pervma/detail/range_core.h"
#include "range/cell_cache.h"
#include "range/held_maps.h"
#include "range/range_cell.h"
#include "range/range_platform.h"
#include "range/retired_count.h"
#include "tree/maple_tree.h"

namespace pervma {

template <class P>
class BasicRangeCore final : public detail::RangeCore {
 public:
  using Cell = RangeCell<P>;
  using Lock = BasicRefcountLock<P>;
  using MapLock = BasicMmapLock<P>;
  using Ops = detail::RangeValueOps;
  using Stop = std::stop_token;

  struct Pin {
    Cell* cell;
    int error;  // 0, or an errno
  };

  static std::unique_ptr<BasicRangeCore> create(const Ops& ops, AllocationHook hook) noexcept;
  // No guard may be left: aborts otherwise. Waits for an RCU grace period.
  ~BasicRangeCore();
  BasicRangeCore(const BasicRangeCore&) = delete;
  BasicRangeCore& operator=(const BasicRangeCore&) = delete;

  // --- readers (range_lookup.h) ---
  Pin find(uint64_t index, const Stop& stop) noexcept;
  Pin try_find(uint64_t index) noexcept;
  Pin find_next(uint64_t from, uint64_t last, const Stop& stop) noexcept;
  int copy(uint64_t index, uint64_t* to, const Stop& stop) noexcept;
  int try_copy(uint64_t index, uint64_t* to) noexcept;
  void unpin(Cell* cell) noexcept;
  void hand_over(const Cell* cell) noexcept;
  void drop(Cell* cell) noexcept;
  int find_gap(Range window, uint64_t bytes, GapSide side, const Stop& stop, uint64_t* at) noexcept;
  RangeMapStats stats() const noexcept;
  std::string check();

  // --- the writer (range_writer.h) ---
  int begin_write(const Stop& stop) noexcept;
  void end_write() noexcept;
  Cell* make() noexcept;
  void unmake(Cell* cell) noexcept { give_back(cell); }
  void discard(Cell* cell) noexcept { bury(*cell); }
  int insert(Cell* cell, Range where, const Stop& stop) noexcept;
  int place(Cell* cell, Range where) noexcept;
  int split(uint64_t at, Cell* right, const Stop& stop) noexcept;
  int merge(uint64_t at, const Stop& stop) noexcept;
  Pin open(uint64_t index, const Stop& stop) noexcept;
  void settle(Cell* cell, const Stop& stop) noexcept;
  int erase(Range where, const Stop& stop, size_t* count) noexcept;
  int retire(Range where, size_t* count) noexcept;
  bool reserve(size_t ranges) noexcept;
  // Whether so many at once are better loaded with the map's own than put in one by one.
  bool loads_at_once(size_t n) const noexcept {
    return n >= ranges_.load(std::memory_order_relaxed) / kLoadShare;
  }
  int load(Cell* first, size_t n, Range (*where)(const void* context, size_t i) noexcept,
           const void* context) noexcept;  // range_load.h
  Cell* next(uint64_t from, uint64_t last) noexcept;
  Cell* at(uint64_t index) noexcept { return static_cast<Cell*>(tree_.load(index)); }
  std::optional<uint64_t> gap(Range window, uint64_t bytes, GapSide side) noexcept;

 private:
  // A range found in the tree may be detached, because it stays there for a moment: so often a
  // lookup begins anew before it takes the map lock.
  static constexpr int kMaxMisses = 2;
  static constexpr size_t kStockMax = 128;
  // One by one each needs a reservation of many nodes, at once the map's own ranges are walked.
  static constexpr size_t kLoadShare = 32;

  enum class Found : uint8_t { pinned, nothing, contended, detached };
  struct Attempt {
    Found found;
    Cell* cell;
  };

  BasicRangeCore(const Ops& ops, AllocationHook hook,
                 std::unique_ptr<RangeCellCache<P>> cache) noexcept
      : ops_(ops), nodes_(hook), tree_(nodes_), cache_(std::move(cache)) {
    tree_.set_leftovers_taken();
  }

  Attempt attempt(uint64_t index) noexcept;
  CopyTry attempt_copy(uint64_t index, uint64_t* to, bool* nothing) noexcept;
  [[gnu::noinline]] Pin find_after_all(uint64_t index, const Stop& stop) noexcept;
  [[gnu::noinline]] int copy_after_all(uint64_t index, uint64_t* to, const Stop& stop) noexcept;
  bool is_surely_empty(uint64_t index) noexcept;
  Attempt attempt_next(uint64_t from, uint64_t last) noexcept;
  Pin find_slowly(uint64_t from, uint64_t last, bool next, const Stop& stop) noexcept;
  Pin note(Cell* cell) noexcept {
    t_held_maps.add_guard(this);
    return {cell, 0};
  }
  Cell* first_from(uint64_t from, uint64_t last) const noexcept;
  // Ends a retired range that this thread was the last to leave.
  void end_last_out() noexcept {
    if (t_last_out != nullptr) [[unlikely]]
      reclaim_last_out();
  }
  void reclaim_last_out() noexcept;

  bool lock(Cell& cell, const Stop& stop) noexcept;
  void detach(Cell& cell) noexcept;
  void bury(Cell& cell) noexcept;
  void retire_out(Cell& cell) noexcept;
  void retire_now(Cell& cell) noexcept;
  void end_reservation() noexcept;
  void leave_section() noexcept;
  bool may_merge(const Cell& left, const Cell& right) const noexcept;
  int join(Cell& left, Cell& right, const Stop& stop) noexcept;
  int insert_merged(Cell* cell, Range where, const Stop& stop, bool* done) noexcept;
  void reclaim_retired(Cell& cell) noexcept;
  void end_value(Cell& cell, bool retired) noexcept;
  void add_ranges(ptrdiff_t change) noexcept {
    ranges_.store(ranges_.load(std::memory_order_relaxed) + static_cast<size_t>(change),
                  std::memory_order_relaxed);
  }
  void give_back(Cell* cell) noexcept;
  static Range range_of(const Cell& cell) noexcept {
    return {Address{cell.first_index()}, Address{cell.last_index() + 1}};
  }
  static Cell& cell_of(typename P::template Atomic<uint32_t>& count) noexcept;

  const Ops ops_;
  NodePool nodes_;
  MapleTree tree_;
  MapLock lock_;

  std::unique_ptr<RangeCellCache<P>> cache_;
  // Under the map lock held for write.
  RangeCellList<P> stock_;
  RangeCellList<P> dead_;
  Cell* dead_retired_ = nullptr;   // linked by out_next()
  bool reserved_ = false;          // reserve() was called in this section
  std::atomic<size_t> ranges_{0};  // Written under the map lock; a moment's value for statistics.
  // Retired and not yet freed. Incremented under the map lock, decremented by whoever frees.
  BasicRetiredCount<P> retired_;
};

}  // namespace pervma

// A range of a RangeMap: retirement, where the last to leave owns it, and the copy without a lock.
#include "range/range_cell.h"

#include "harness.h"
#include "range/retired_count.h"
#include "sync/mmap_lock_slow.h"

namespace pervma::verify {
namespace {

// Whether the thread was the last out of the retired range.
bool g_last_out[kMaxThreads];

struct CellPlatform : RelacyPlatform {
  static void last_out(Atomic<uint32_t>&) { g_last_out[rl::thread_index()] = true; }
};
using Map = BasicMmapLock<CellPlatform>;
using Cell = SizedRangeCell<CellPlatform, 1>;
using Lock = Cell::Lock;

// One range in the map; its bounds and its word are 10.
template <class Self, int kThreads>
struct CellScenario : Scenario<Self, kThreads> {
  Map map;
  Cell cell;
  RelacyPlain<uint64_t> value{10};  // of a type that no copy may look at
  unsigned frees = 0;               // by the range's owner, so never two at once

  void before() {
    for (bool& last : g_last_out) last = false;
    map.lock_write();
    attach(10);
    map.unlock_write();
  }
  void fill(uint64_t to) {
    cell.set_bounds(to, to);
    cell.value[0].store(to, std::memory_order_relaxed);
  }
  void attach(uint64_t to) {
    (void)Lock::init(cell.near, cell.far, map);
    RL_ASSERT(Lock::lock_write(cell.near, cell.far, map));
    Cell::open_for_writing();
    fill(to);
    Lock::attach(cell.near, cell.far, map);
  }
  // By whoever owns the retired range.
  void end_range() {
    value = 0;
    Lock::reclaim_retired(cell.near, cell.far);
    Cell::open_for_writing();
    cell.set_free_next(nullptr);
    ++frees;
  }
  void read() {
    {
      const CellPlatform::RcuRead rcu;
      const auto attempt = Lock::begin_read(cell.near, cell.far, map);
      if (attempt.outcome == ReadTry::locked) {
        RL_ASSERT(value == 10);
        Lock::end_read(cell.far, attempt.token);
      }
    }
    if (g_last_out[rl::thread_index()]) end_range();
  }
  void retire() {
    map.lock_write();
    if (Lock::retire_attached(cell.far)) end_range();
    map.unlock_write();
  }
  void copy(std::initializer_list<uint64_t> lives) {
    const CellPlatform::RcuRead rcu;
    uint64_t to[3];
    if (Cell::copy(cell, map, cell.value, 1, to) != CopyTry::copied) return;
    RL_ASSERT(to[0] == to[1] && to[1] == to[2]);
    bool is_life = false;
    for (const uint64_t life : lives) is_life |= to[0] == life;
    RL_ASSERT(is_life);
  }
};

// Nobody waits; the range ends once, after all that readers did in it.
struct Retire : CellScenario<Retire, 2> {
  void thread(unsigned i) { i == 0 ? read() : retire(); }
  void after() { RL_ASSERT(frees == 1); }
};
struct RetireWithTwoReaders : CellScenario<RetireWithTwoReaders, 3> {
  void thread(unsigned i) { i < 2 ? read() : retire(); }
  void after() { RL_ASSERT(frees == 1); }
};

struct CopyAgainstWriter : CellScenario<CopyAgainstWriter, 2> {
  void thread(unsigned i) {
    if (i == 0) {
      copy({10, 20});
      return;
    }
    map.lock_write();
    RL_ASSERT(Lock::lock_write(cell.near, cell.far, map));
    Cell::open_for_writing();
    fill(20);
    map.unlock_write();
  }
};

struct CopyAgainstTwoWriters : CellScenario<CopyAgainstTwoWriters, 3> {
  void thread(unsigned i) {
    if (i == 0) {
      copy({10, 20, 30});
      return;
    }
    map.lock_write();
    RL_ASSERT(Lock::lock_write(cell.near, cell.far, map));
    Cell::open_for_writing();
    fill(10 + 10 * i);
    map.unlock_write();
  }
};

// The range goes, and its memory comes back, full of something else.
struct CopyAgainstReuse : CellScenario<CopyAgainstReuse, 2> {
  void thread(unsigned i) {
    if (i == 0) {
      copy({10, 20});
      return;
    }
    map.lock_write();
    RL_ASSERT(Lock::lock_write(cell.near, cell.far, map));
    Cell::open_for_writing();
    Lock::detach(cell.near, cell.far, map);
    cell.set_free_next(nullptr);
    map.unlock_write();
    map.lock_write();
    attach(20);
    map.unlock_write();
  }
};

struct CopyAgainstRetire : CellScenario<CopyAgainstRetire, 2> {
  void thread(unsigned i) {
    if (i == 0) {
      copy({10, 20});
      return;
    }
    retire();
    map.lock_write();
    attach(20);
    map.unlock_write();
  }
};

// A map ends once the last reader of its last retired range has counted it out.
struct MapEnds : Scenario<MapEnds, 2> {
  BasicRetiredCount<CellPlatform> retired;
  RelacyPlain<uint64_t> map{1};
  bool ended = false;

  void before() { retired.in(); }
  void thread(unsigned i) {
    if (i == 0) {
      RL_ASSERT(map == 1);
      retired.out();
    } else if (retired.all_out()) {
      map = 0;
      ended = true;
    }
  }
  void after() { RL_ASSERT(retired.value() == 0 && (ended ? 0 : 1) == map); }
};

}  // namespace
}  // namespace pervma::verify

int main(int argc, char** argv) {
  using namespace pervma::verify;
  constexpr Search kRandom = random_schedules(100'000);
  return Harness("range_cell")
      .add<Retire>("retire", {bounded(5), kRandom})
      .add<RetireWithTwoReaders>("retire_with_two_readers", {bounded(2), kRandom})
      .add<CopyAgainstWriter>("copy_against_writer", {bounded(5), kRandom})
      .add<CopyAgainstTwoWriters>("copy_against_two_writers", {bounded(1), kRandom})
      .add<CopyAgainstReuse>("copy_against_reuse", {bounded(3), kRandom})
      .add<CopyAgainstRetire>("copy_against_retire", {bounded(3), kRandom})
      .add<MapEnds>("map_ends", {exhaustive()})
      .run(argc, argv);
}

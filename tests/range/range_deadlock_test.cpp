// A thread that would wait for itself is told so, in every build; and what a guard may do.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "pervma/range_map.h"
#include "range/held_maps.h"

namespace pervma {
namespace {

Range range(uint64_t start, uint64_t end) { return {Address{start}, Address{end}}; }

struct RangeDeadlockTest : ::testing::Test {
  using Map = RangeMap<int>;
  Map map = Map::create().value();
  RangeDeadlockTest() {
    EXPECT_TRUE(map.write()->insert(range(10, 20), 1));
    EXPECT_TRUE(map.write()->insert(range(20, 30), 2));
  }
};

TEST_F(RangeDeadlockTest, a_holder_of_a_guard_gets_deadlk_from_whatever_may_wait) {
  auto guard = map.find(Address{10});
  ASSERT_TRUE(guard);
  EXPECT_EQ(map.find(Address{25}).error(), Error::deadlk);
  EXPECT_EQ(map.find_next(Address{0}, Address{99}).error(), Error::deadlk);
  EXPECT_EQ(map.find_fast(Address{25}).error(), Error::deadlk);
  EXPECT_EQ(map.find_gap(range(0, 99), 1).error(), Error::deadlk);
  EXPECT_EQ(map.write().error(), Error::deadlk);
  EXPECT_EQ(map.for_each(range(0, 99), [](const auto&) {}).error(), Error::deadlk);
  EXPECT_EQ(map.try_find(Address{25}).outcome, RangeTry::found);
  EXPECT_TRUE(map.try_find_fast(Address{25}));
  guard->release();
  EXPECT_TRUE(map.find(Address{25}));
  EXPECT_TRUE(map.write());
}

TEST_F(RangeDeadlockTest, a_section_opened_twice_by_one_thread_is_deadlk) {
  auto section = map.write();
  ASSERT_TRUE(section);
  EXPECT_EQ(map.write().error(), Error::deadlk);
  EXPECT_EQ(map.find(Address{10}).error(), Error::deadlk);
  EXPECT_EQ(map.try_find(Address{10}).outcome, RangeTry::contended);
  section->end();
  EXPECT_TRUE(map.write());
}

TEST_F(RangeDeadlockTest, a_guard_found_by_trying_counts_as_one) {
  auto first = map.try_find(Address{10});
  auto second = map.try_find(Address{25});
  first.guard.release();
  EXPECT_EQ(map.write().error(), Error::deadlk);
  second.guard.release();
  EXPECT_TRUE(map.write());
}

TEST_F(RangeDeadlockTest, guards_of_one_map_do_not_forbid_another) {
  Map other = Map::create().value();
  auto guard = map.find(Address{10});
  EXPECT_TRUE(other.write()->insert(range(1, 2), 3));
  auto inner = other.find(Address{1});
  EXPECT_TRUE(inner);
  EXPECT_EQ(other.write().error(), Error::deadlk);
}

TEST_F(RangeDeadlockTest, a_guard_moves_and_is_released_once) {
  auto guard = std::move(*map.find(Address{10}));
  RangeGuard<int> moved = std::move(guard);
  EXPECT_FALSE(guard);  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(moved);
  moved = RangeGuard<int>();
  EXPECT_TRUE(map.write());
}

TEST_F(RangeDeadlockTest, a_hold_that_was_handed_over_is_released_by_another_thread) {
  RangeHold<int> hold = std::move(*map.find(Address{10})).hand_over();
  EXPECT_EQ(hold.value(), 1);
  // This thread counts as holding nothing.
  EXPECT_TRUE(map.write()->retire(Address{10}));
  EXPECT_EQ(map.stats().retired, 1U);
  std::thread([hold = std::move(hold)]() mutable { hold.release(); }).join();
  EXPECT_EQ(map.stats().retired, 0U);
  EXPECT_EQ(map.check(), "");
}

TEST_F(RangeDeadlockTest, guards_of_more_maps_than_a_thread_can_note_are_refused) {
  std::vector<Map> maps;
  std::vector<RangeGuard<int>> guards;
  auto ended = std::make_unique<Map>(Map::create().value());
  ASSERT_TRUE(ended->write()->insert(range(1, 2), 3));
  maps.reserve(HeldMaps::kMaps);
  guards.reserve(HeldMaps::kMaps);
  for (uint32_t i = 0; i < HeldMaps::kMaps; ++i) {
    maps.push_back(Map::create().value());
    ASSERT_TRUE(maps.back().write()->insert(range(1, 2), 3));
  }
  for (Map& each : maps) guards.push_back(std::move(*each.find(Address{1})));
  EXPECT_EQ(map.find(Address{10}).error(), Error::nomem);
  EXPECT_EQ(map.write().error(), Error::nomem);
  EXPECT_EQ(map.try_find(Address{10}).outcome, RangeTry::contended);
  // Another guard of a map that is noted needs no room.
  EXPECT_EQ(maps.front().try_find(Address{1}).outcome, RangeTry::found);
  ended.reset();  // A map's end needs no room either.
  guards.clear();
  EXPECT_TRUE(map.find(Address{10}));
}

// Run in a process of its own: the library's callback thread does not survive a fork.
struct RangeMapDeathTest : RangeDeadlockTest {
  RangeMapDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(RangeMapDeathTest, a_map_destroyed_under_a_guard_aborts_with_a_clear_line) {
  EXPECT_DEATH(
      {
        RangeGuard<int> guard;
        Map gone = Map::create().value();
        (void)gone.write()->insert(range(1, 2), 3);
        guard = std::move(*gone.find(Address{1}));
        {
          const Map end = std::move(gone);
        }
        (void)guard.value();
      },
      "RangeMap was destroyed .*guard");
}

TEST_F(RangeMapDeathTest, a_map_destroyed_inside_another_threads_section_aborts) {
  EXPECT_DEATH(
      {
        Map gone = Map::create().value();
        std::atomic<bool> writes{false};
        const std::jthread writer([&] {
          const auto section = gone.write();
          writes = true;
          writes.notify_one();
          writes.wait(true);
        });
        writes.wait(false);
        const Map end = std::move(gone);
      },
      "RangeMap was destroyed inside another thread's writer section");
}

TEST_F(RangeMapDeathTest, a_map_destroyed_under_a_handed_over_hold_aborts) {
  EXPECT_DEATH(
      {
        RangeHold<int> hold;
        Map gone = Map::create().value();
        (void)gone.write()->insert(range(1, 2), 3);
        hold = std::move(*gone.find(Address{1})).hand_over();
        {
          const Map end = std::move(gone);
        }
      },
      "RangeMap was destroyed under a guard");
}

TEST_F(RangeMapDeathTest, a_map_destroyed_under_a_guard_of_a_retired_range_aborts) {
  EXPECT_DEATH(
      {
        RangeHold<int> hold;
        Map gone = Map::create().value();
        (void)gone.write()->insert(range(1, 2), 3);
        hold = std::move(*gone.find(Address{1})).hand_over();
        (void)gone.write()->retire(Address{1});
        {
          const Map end = std::move(gone);
        }
      },
      "RangeMap was destroyed under a guard of a retired range");
}

TEST_F(RangeMapDeathTest, a_guard_released_by_another_thread_aborts) {
  EXPECT_DEATH(
      {
        auto guard = std::move(*map.find(Address{10}));
        std::thread([&] { guard.release(); }).join();
      },
      "released by a thread that did not take it");
}

}  // namespace
}  // namespace pervma

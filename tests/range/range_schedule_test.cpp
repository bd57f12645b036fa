// Schedules of several threads: who waits for whom, and what a reader gets in each state of a
// range.
#include <gtest/gtest.h>

#include <stop_token>

#include "sync/actor.h"
#include "tests/range/hooked_core.h"

namespace pervma::test {
namespace {

struct RangeScheduleTest : ::testing::Test {
  HookedCore map;
  Actor reader;
  Actor writer;
  HookedCore::Cell* held = nullptr;

  RangeScheduleTest() { EXPECT_EQ(map.insert_alone(10, 20, 1), 0); }
  ~RangeScheduleTest() override { EXPECT_EQ(map->check(), ""); }

  void reader_finds(uint64_t at) {
    held = reader.ask([&] { return map->find(at, {}).cell; });
    ASSERT_NE(held, nullptr);
  }
  void reader_lets_go() {
    reader.run([&] { map->unpin(held); });
  }
};

TEST_F(RangeScheduleTest, erase_waits_for_the_holder_of_the_range) {
  reader_finds(15);
  Signal sleeps;
  writer.start([&] {
    const OnRangeHook hook(Hook::write_before_sleep, [&] { sleeps.set(); });
    EXPECT_EQ(map.erase_alone(15), 0);
  });
  sleeps.wait();
  EXPECT_EQ(map->try_find(15).error, EAGAIN);
  reader_lets_go();
  writer.wait();
  EXPECT_EQ(map->find(15, {}).error, ENOENT);
}

TEST_F(RangeScheduleTest, a_writer_does_not_wait_for_holders_of_other_ranges) {
  ASSERT_EQ(map.insert_alone(20, 30, 2), 0);
  reader_finds(15);
  EXPECT_EQ(map.erase_alone(25), 0);
  EXPECT_EQ(map.insert_alone(20, 22, 3), 0);
  reader_lets_go();
}

TEST_F(RangeScheduleTest, a_stop_ends_the_wait_for_holders_and_nothing_changed) {
  reader_finds(15);
  std::stop_source stop;
  Signal sleeps;
  writer.start([&] {
    const OnRangeHook hook(Hook::write_before_sleep, [&] { sleeps.set(); });
    EXPECT_EQ(map.erase_alone(15, stop.get_token()), EINTR);
  });
  sleeps.wait();
  stop.request_stop();
  writer.wait();
  const auto again = map->find(15, {});
  EXPECT_EQ(again.cell, held);
  map->unpin(again.cell);
  reader_lets_go();
}

TEST_F(RangeScheduleTest, a_stop_ends_the_wait_for_the_section) {
  ASSERT_EQ(map->begin_write({}), 0);
  std::stop_source stop;
  Signal queued;
  writer.start([&] {
    const OnRangeHook hook(Hook::queue_after_push, [&] { queued.set(); });
    EXPECT_EQ(map->begin_write(stop.get_token()), EINTR);
  });
  queued.wait();
  stop.request_stop();
  writer.wait();
  map->end_write();
}

TEST_F(RangeScheduleTest, find_waits_for_the_section_that_changes_its_range) {
  ASSERT_EQ(map->begin_write({}), 0);
  ASSERT_EQ(map->open(15, {}).error, 0);
  Signal queued;
  reader.start([&] {
    const OnRangeHook hook(Hook::queue_after_push, [&] { queued.set(); });
    const auto pin = map->find(15, {});
    ASSERT_EQ(pin.error, 0);
    EXPECT_EQ(pin.cell->words()[0].load(std::memory_order_relaxed), 5U);
    map->unpin(pin.cell);
  });
  queued.wait();
  map->at(15)->words()[0].store(5, std::memory_order_relaxed);
  map->end_write();
  reader.wait();
}

TEST_F(RangeScheduleTest, readers_of_other_ranges_do_not_notice_a_section) {
  ASSERT_EQ(map.insert_alone(20, 30, 2), 0);
  ASSERT_EQ(map->begin_write({}), 0);
  ASSERT_EQ(map->open(15, {}).error, 0);
  reader.run([&] {
    const auto pin = map->find(25, {});
    ASSERT_EQ(pin.error, 0);
    map->unpin(pin.cell);
    uint64_t words[3];
    EXPECT_EQ(map->try_copy(25, words), 0);
    EXPECT_EQ(words[2], 2U);
    EXPECT_EQ(map->try_copy(15, words), EAGAIN);
    EXPECT_EQ(map->try_find(15).error, EAGAIN);
    // That there is nothing cannot be known while a writer is in.
    EXPECT_EQ(map->try_find(99).error, EAGAIN);
  });
  map->end_write();
}

TEST_F(RangeScheduleTest, retire_waits_for_nobody_and_the_last_holder_ends_the_range) {
  reader_finds(15);
  const auto second = map->find(15, {});
  EXPECT_EQ(writer.ask([&] { return map.retire_alone(15); }), 0);
  EXPECT_EQ(map->find(15, {}).error, EDEADLK);
  EXPECT_EQ(map->try_find(15).error, ENOENT);
  EXPECT_EQ(map->stats().retired, 1U);
  // The place is free at once, and the holders keep what they hold.
  EXPECT_EQ(writer.ask([&] { return map.insert_alone(10, 20, 2); }), 0);
  EXPECT_EQ(held->words()[0].load(std::memory_order_relaxed), 1U);
  reader_lets_go();
  EXPECT_EQ(map->stats().retired, 1U);
  map->unpin(second.cell);
  EXPECT_EQ(map->stats().retired, 0U);
  EXPECT_EQ(map->find(15, {}).cell->words()[0].load(std::memory_order_relaxed), 2U);
  map->unpin(map->at(15));
}

TEST_F(RangeScheduleTest, a_reader_that_raised_the_count_before_a_retirement_holds_the_range) {
  const OnRangeHook hook(Hook::read_after_increment, [&] {
    writer.run([&] { EXPECT_EQ(map.retire_alone(15), 0); });
    EXPECT_EQ(map->stats().retired, 1U);
  });
  const auto pin = map->find(15, {});
  ASSERT_EQ(pin.error, 0);
  EXPECT_EQ(map->stats().retired, 1U);
  map->unpin(pin.cell);
  EXPECT_EQ(map->stats().retired, 0U);
}

TEST_F(RangeScheduleTest, a_reader_that_backs_out_of_a_retired_range_last_ends_it) {
  // The writer marks the range between this reader's early look at the mark and its increment, and
  // retires it between the increment and the second look.
  t_range_hook = [&](Hook hook) {
    if (hook == Hook::read_before_increment) {
      writer.run([&] {
        ASSERT_EQ(map->begin_write({}), 0);
        ASSERT_EQ(map->open(15, {}).error, 0);
      });
    } else if (hook == Hook::read_after_increment) {
      writer.run([&] {
        size_t count = 0;
        ASSERT_EQ(map->retire(HookedCore::range(15, 16), &count), 0);
      });
      EXPECT_EQ(map->stats().retired, 1U);
    }
  };
  EXPECT_EQ(map->try_find(15).error, EAGAIN);
  t_range_hook = nullptr;
  EXPECT_EQ(map->stats().retired, 0U);
  writer.run([&] { map->end_write(); });
}

TEST_F(RangeScheduleTest, a_copy_of_a_range_that_is_gone_is_refused) {
  // Inside RCU the tree may still lead a reader to it.
  HookedCore::Cell* const cell = map->at(15);
  BasicMmapLock<HookedRangePlatform> any;
  uint64_t words[3];
  EXPECT_EQ(map.erase_alone(15), 0);
  EXPECT_EQ(HookedCore::Cell::copy(*cell, any, cell->words(), 1, words), CopyTry::detached);
}

// Many ranges leave at once, and their memory is more than a cache keeps. While the tree still
// leads to those that have left, a reader that comes late must find memory there: the grace periods
// that began when they were freed do not wait for it.
struct RangeMemoryTest : ::testing::Test {
  static constexpr uint64_t kRanges = 12'000;
  HookedCore map;

  template <class Leave>
  void leave_and_look(Leave leave) {
    ASSERT_EQ(map->begin_write({}), 0);
    for (uint64_t i = 0; i < kRanges; ++i) ASSERT_EQ(map.insert(10 * i, 10 * i + 5, i), 0);
    map->end_write();
    ASSERT_EQ(map->begin_write({}), 0);
    uint64_t left = 0;
    uint64_t seen = 0;
    t_range_hook = [&](Hook at) {
      if (at != Hook::range_still_in_tree || ++left != kRanges) return;
      rcu_barrier();
      uint64_t words[3];
      for (uint64_t i = 0; i < kRanges; ++i) seen += map->try_copy(10 * i, words) == 0 ? 1 : 0;
    };
    size_t count = 0;
    EXPECT_EQ(leave(&count), 0);
    t_range_hook = nullptr;
    EXPECT_EQ(left, kRanges);
    EXPECT_EQ(count, kRanges);
    EXPECT_EQ(seen, 0U);
    map->end_write();
    EXPECT_EQ(map->check(), "");
  }
};

TEST_F(RangeMemoryTest, a_late_reader_finds_memory_where_many_ranges_are_being_erased) {
  leave_and_look(
      [&](size_t* count) { return map->erase({Address{0}, Address{~0ULL}}, {}, count); });
}

TEST_F(RangeMemoryTest, a_late_reader_finds_memory_where_many_ranges_are_being_retired) {
  leave_and_look([&](size_t* count) { return map->retire({Address{0}, Address{~0ULL}}, count); });
}

// A platform whose fences are the moments at which the other side acts.
struct FenceHookPlatform : HookedRangePlatform {
  inline static std::function<void()> on_acquire_fence;
  static void fence(std::memory_order order) noexcept {
    if (order == std::memory_order_acquire && on_acquire_fence) {
      std::exchange(on_acquire_fence, nullptr)();
    }
    HookedRangePlatform::fence(order);
  }
};

TEST(RangeCopyTest, a_copy_is_refused_when_its_range_changed_in_between) {
  using Core = BasicRangeCore<FenceHookPlatform>;
  const auto map = Core::create(HookedCore::word_ops(), {.fail = nullptr, .context = nullptr});
  Actor writer;
  const auto section = [&](auto work) {
    writer.run([&] {
      ASSERT_EQ(map->begin_write({}), 0);
      work();
      map->end_write();
    });
  };
  section([&] { ASSERT_EQ(map->insert(map->make(), HookedCore::range(10, 20), {}), 0); });
  uint64_t words[3];
  ASSERT_EQ(map->try_copy(15, words), 0);
  // Each of these moves the mark between the copy and the second look at it.
  FenceHookPlatform::on_acquire_fence = [&] {
    section([&] { map->open(15, {}).cell->words()[0].store(5, std::memory_order_relaxed); });
  };
  EXPECT_EQ(map->try_copy(15, words), EAGAIN);
  FenceHookPlatform::on_acquire_fence = [&] {
    section([&] {
      size_t count = 0;
      ASSERT_EQ(map->erase(HookedCore::range(15, 16), {}, &count), 0);
      ASSERT_EQ(map->insert(map->make(), HookedCore::range(100, 110), {}), 0);
    });
  };
  EXPECT_EQ(map->try_copy(15, words), EAGAIN);
  FenceHookPlatform::on_acquire_fence = [&] {
    section([&] {
      size_t count = 0;
      ASSERT_EQ(map->retire(HookedCore::range(105, 106), &count), 0);
    });
  };
  EXPECT_EQ(map->try_copy(105, words), EAGAIN);
  FenceHookPlatform::on_acquire_fence = nullptr;
}

TEST_F(RangeScheduleTest,
       insert_over_a_retired_range_reuses_its_memory_only_after_the_last_holder) {
  reader_finds(15);
  EXPECT_EQ(map.retire_alone(15), 0);
  ASSERT_EQ(map.insert_alone(10, 20, 2), 0);
  EXPECT_NE(map->at(15), held);
  reader_lets_go();
}

}  // namespace
}  // namespace pervma::test

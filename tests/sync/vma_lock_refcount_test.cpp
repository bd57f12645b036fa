#include "sync/vma_lock_refcount.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stop_token>
#include <thread>

#include "actor.h"
#include "hooked_platform.h"
#include "test_vma.h"

namespace pervma::test {
namespace {

using Lock = HookedRefcountLock;
using Mm = HookedMmapLock;

// One attached VMA of mm_; writer_ and reader_ are threads that a test directs.
class VmaRefcountLock : public testing::Test {
 protected:
  void SetUp() override { vma_.init_and_attach(mm_); }
  void TearDown() override {
    if (Lock::is_detached(vma_.far)) return;
    EXPECT_EQ(vma_.count(), 1u) << "a reader or a writer was left inside";
    vma_.lock_and_detach(vma_.near.owner == &mm_ ? mm_ : other_);
    Lock::retire(vma_.near, vma_.far);
  }

  // The writer begins to write-lock the VMA, and has added kExclude when this returns.
  void start_write_lock(Signal& drained, const std::stop_token& stop = {}) {
    Signal excluded;
    writer_.start([&, stop] {
      mm_.lock_write();
      {
        const OnHook hook(Hook::write_after_exclude, [&] { excluded.set(); });
        got_it_ = vma_.lock_write(mm_, stop);
      }
      drained.set();
    });
    excluded.wait();
  }
  void end_write_hold() {
    writer_.run([&] { mm_.unlock_write(); });
  }

  Mm mm_;
  Mm other_;
  TestVma<Lock, Mm> vma_;
  bool got_it_ = false;
  Actor writer_;
  Actor reader_;
};

TEST_F(VmaRefcountLock, a_vma_that_was_never_attached_answers_detached) {
  TestVma<Lock, Mm> vma;
  EXPECT_EQ(vma.begin(mm_), ReadTry::detached);
  EXPECT_EQ(vma.count(), 0u);
}

TEST_F(VmaRefcountLock, a_detached_vma_answers_detached) {
  vma_.lock_and_detach(mm_);
  EXPECT_EQ(vma_.begin(mm_), ReadTry::detached);
  EXPECT_EQ(vma_.count(), 0u);
}

TEST_F(VmaRefcountLock, attach_lets_readers_in_only_after_the_write_hold) {
  TestVma<Lock, Mm> vma;
  ASSERT_TRUE(Lock::init(vma.near, vma.far, mm_));
  mm_.lock_write();
  ASSERT_TRUE(vma.lock_write(mm_));
  EXPECT_EQ(vma.count(), 0u) << "a detached VMA is marked without touching its count";
  Lock::attach(vma.near, vma.far, mm_);
  EXPECT_EQ(vma.count(), 1u);
  EXPECT_EQ(vma.begin(mm_), ReadTry::contended);
  mm_.unlock_write();
  EXPECT_EQ(vma.begin(mm_), ReadTry::locked);
  vma.end();
  vma.lock_and_detach(mm_);
}

TEST_F(VmaRefcountLock, init_leaves_the_count_of_recycled_memory_alone) {
  vma_.lock_and_detach(mm_);
  ASSERT_TRUE(Lock::init(vma_.near, vma_.far, other_));
  EXPECT_EQ(vma_.count(), 0u);
  EXPECT_EQ(vma_.mark(), Lock::kNever);
  EXPECT_EQ(vma_.near.owner, &other_);
}

TEST_F(VmaRefcountLock, readers_are_counted_above_one) {
  EXPECT_EQ(vma_.begin(mm_), ReadTry::locked);
  EXPECT_EQ(reader_.ask([&] { return vma_.begin(mm_); }), ReadTry::locked);
  EXPECT_EQ(vma_.count(), 3u);
  EXPECT_EQ(Lock::reader_count(vma_.far), 2u);
  reader_.run([&] { vma_.end(); });
  vma_.end();
  EXPECT_EQ(vma_.count(), 1u);
  EXPECT_EQ(Lock::reader_count(vma_.far), 0u);
}

TEST_F(VmaRefcountLock, the_last_reader_that_fits_gets_in_and_the_next_does_not) {
  vma_.set_count(Lock::kLimit - 1);
  EXPECT_EQ(vma_.begin(mm_), ReadTry::locked);
  EXPECT_EQ(vma_.count(), Lock::kLimit);
  EXPECT_EQ(vma_.begin(mm_), ReadTry::contended);
  EXPECT_EQ(vma_.count(), Lock::kLimit);
  vma_.end();
  vma_.set_count(1);
}

TEST_F(VmaRefcountLock, a_full_count_and_a_writer_together_do_not_overflow) {
  vma_.set_count(Lock::kLimit);
  Signal drained;
  start_write_lock(drained);
  EXPECT_EQ(vma_.count(), Lock::kExclude + Lock::kLimit);
  EXPECT_EQ(vma_.begin(mm_), ReadTry::contended);
  vma_.set_count(Lock::kExclude + 1);
  NativePlatform::wake_one(&vma_.far.vm_refcnt);
  drained.wait();
  end_write_hold();
}

TEST_F(VmaRefcountLock, a_write_locked_vma_is_contended_until_the_mmap_lock_is_released) {
  mm_.lock_write();
  ASSERT_TRUE(vma_.lock_write(mm_));
  EXPECT_EQ(vma_.count(), 1u) << "the mark excludes, not the count";
  EXPECT_TRUE(vma_.is_write_locked(mm_));
  EXPECT_EQ(vma_.begin(mm_), ReadTry::contended);
  EXPECT_EQ(vma_.count(), 1u);
  mm_.unlock_write();
  EXPECT_FALSE(vma_.is_write_locked(mm_));
  EXPECT_EQ(vma_.begin(mm_), ReadTry::locked);
  vma_.end();
}

TEST_F(VmaRefcountLock, a_downgrade_ends_all_write_locks) {
  mm_.lock_write();
  ASSERT_TRUE(vma_.lock_write(mm_));
  mm_.downgrade();
  EXPECT_FALSE(vma_.is_write_locked(mm_));
  EXPECT_EQ(vma_.begin(mm_), ReadTry::locked);
  vma_.end();
  mm_.unlock_read();
}

TEST_F(VmaRefcountLock, the_mmap_write_lock_alone_excludes_nobody) {
  mm_.lock_write();
  EXPECT_EQ(vma_.begin(mm_), ReadTry::locked);
  vma_.end();
  mm_.unlock_write();
}

TEST_F(VmaRefcountLock, a_mark_of_an_earlier_hold_excludes_nobody) {
  mm_.lock_write();
  ASSERT_TRUE(vma_.lock_write(mm_));
  mm_.unlock_write();
  mm_.lock_write();
  EXPECT_FALSE(vma_.is_write_locked(mm_));
  EXPECT_EQ(vma_.begin(mm_), ReadTry::locked);
  vma_.end();
  mm_.unlock_write();
}

TEST_F(VmaRefcountLock, write_lock_is_free_when_done_before_under_the_same_hold) {
  mm_.lock_write();
  ASSERT_TRUE(vma_.lock_write(mm_));
  vma_.set_count(2);  // A reader that is backing out: a second drain would wait for it.
  EXPECT_TRUE(vma_.lock_write(mm_));
  vma_.set_count(1);
  mm_.unlock_write();
}

TEST_F(VmaRefcountLock, a_writer_waits_for_the_reader_inside_and_no_other_gets_in) {
  ASSERT_EQ(vma_.begin(mm_), ReadTry::locked);
  Signal drained;
  start_write_lock(drained);
  EXPECT_EQ(vma_.count(), Lock::kExclude + 2);
  EXPECT_NE(vma_.mark(), mm_.seq_relaxed()) << "marked before the reader left";
  EXPECT_EQ(vma_.begin(mm_), ReadTry::contended);
  EXPECT_TRUE(Lock::is_read_locked_or_more(vma_.near, vma_.far, mm_))
      << "a waiting writer makes the reader's lock no less held";
  EXPECT_FALSE(drained.is_set());
  vma_.end();
  drained.wait();
  EXPECT_TRUE(got_it_);
  EXPECT_EQ(vma_.count(), 1u);
  EXPECT_TRUE(vma_.is_write_locked(mm_));
  end_write_hold();
}

TEST_F(VmaRefcountLock, the_last_of_several_readers_wakes_the_writer) {
  ASSERT_EQ(vma_.begin(mm_), ReadTry::locked);
  ASSERT_EQ(reader_.ask([&] { return vma_.begin(mm_); }), ReadTry::locked);
  Signal asleep_soon;
  Signal drained;
  writer_.start([&] {
    mm_.lock_write();
    {
      const OnHook hook(Hook::write_before_sleep, [&] { asleep_soon.set(); });
      got_it_ = vma_.lock_write(mm_);
    }
    drained.set();
  });
  asleep_soon.wait();
  reader_.run([&] { vma_.end(); });
  EXPECT_FALSE(drained.is_set());
  vma_.end();
  drained.wait();
  EXPECT_TRUE(got_it_);
  end_write_hold();
}

TEST_F(VmaRefcountLock, a_reader_that_counted_before_the_mark_backs_out_after_it) {
  // The early test has passed; then a writer comes and goes through before the increment.
  const OnHook hook(Hook::read_before_increment, [&] {
    writer_.run([&] {
      mm_.lock_write();
      ASSERT_TRUE(vma_.lock_write(mm_));
    });
  });
  EXPECT_EQ(vma_.begin(mm_), ReadTry::contended);
  EXPECT_EQ(vma_.count(), 1u);
  end_write_hold();
}

TEST_F(VmaRefcountLock, a_writer_waits_for_a_reader_that_has_counted_but_not_yet_compared) {
  Signal drained;
  ReadTry outcome;
  {
    const OnHook hook(Hook::read_after_increment, [&] {
      start_write_lock(drained);
      EXPECT_FALSE(drained.is_set());
    });
    outcome = vma_.begin(mm_);
  }
  EXPECT_EQ(outcome, ReadTry::locked) << "it came before the writer, who has not marked yet";
  EXPECT_FALSE(drained.is_set());
  vma_.end();
  drained.wait();
  end_write_hold();
}

// R18.
TEST_F(VmaRefcountLock, a_stopped_writer_leaves_everything_as_it_was) {
  ASSERT_EQ(vma_.begin(mm_), ReadTry::locked);
  const uint64_t mark = vma_.mark();
  std::stop_source stop;
  Signal gave_up;
  start_write_lock(gave_up, stop.get_token());
  stop.request_stop();
  gave_up.wait();
  EXPECT_FALSE(got_it_);
  EXPECT_EQ(vma_.count(), 2u);
  EXPECT_EQ(vma_.mark(), mark);
  EXPECT_EQ(reader_.ask([&] { return vma_.begin(mm_); }), ReadTry::locked);
  reader_.run([&] { vma_.end(); });
  vma_.end();
  EXPECT_EQ(vma_.count(), 1u);
  end_write_hold();
}

TEST_F(VmaRefcountLock, a_stop_between_the_look_and_the_sleep_is_not_missed) {
  ASSERT_EQ(vma_.begin(mm_), ReadTry::locked);
  std::stop_source stop;
  Actor stopper;
  writer_.run([&] {
    mm_.lock_write();
    const OnHook hook(Hook::write_before_sleep, [&] { stopper.run([&] { stop.request_stop(); }); });
    got_it_ = vma_.lock_write(mm_, stop.get_token());
  });
  EXPECT_FALSE(got_it_);
  EXPECT_EQ(vma_.count(), 2u);
  vma_.end();
  end_write_hold();
}

TEST_F(VmaRefcountLock, a_reader_that_leaves_between_the_stop_and_the_abort_is_counted_right) {
  ASSERT_EQ(vma_.begin(mm_), ReadTry::locked);
  std::stop_source stop;
  Signal seen;
  Signal go_on;
  writer_.start([&] {
    mm_.lock_write();
    const OnHook hook(Hook::write_before_abort, [&] {
      seen.set();
      go_on.wait();
    });
    got_it_ = vma_.lock_write(mm_, stop.get_token());
  });
  stop.request_stop();
  seen.wait();
  vma_.end();
  go_on.set();
  writer_.wait();
  EXPECT_FALSE(got_it_);
  EXPECT_EQ(vma_.count(), 1u);
  EXPECT_FALSE(vma_.is_write_locked(mm_));
  end_write_hold();
}

TEST_F(VmaRefcountLock, a_write_lock_that_need_not_wait_succeeds_in_spite_of_a_stop) {
  std::stop_source stop;
  stop.request_stop();
  mm_.lock_write();
  EXPECT_TRUE(vma_.lock_write(mm_, stop.get_token()));
  mm_.unlock_write();
}

// R23.
TEST_F(VmaRefcountLock, detach_waits_for_a_reader_that_came_before_exclude) {
  Signal counted;
  Signal go_on;
  Signal locked;
  Signal excluded;
  Signal detached;
  ReadTry outcome{};
  // The reader passes the early test before the mark, and counts itself after it.
  reader_.start([&] {
    t_on_hook = [&](Hook at) {
      if (at == Hook::read_before_increment) {
        counted.set();
        locked.wait();
      }
      if (at == Hook::read_after_increment) {
        excluded.set();
        go_on.wait();
      }
    };
    outcome = vma_.begin(mm_);
    t_on_hook = nullptr;
  });
  counted.wait();
  writer_.run([&] {
    mm_.lock_write();
    ASSERT_TRUE(vma_.lock_write(mm_));
  });
  locked.set();
  excluded.wait();
  EXPECT_EQ(vma_.count(), 2u);
  Signal waits;
  writer_.start([&] {
    const OnHook hook(Hook::write_before_sleep, [&] { waits.set(); });
    Lock::detach(vma_.near, vma_.far, mm_);
    detached.set();
  });
  waits.wait();
  EXPECT_EQ(vma_.count(), Lock::kExclude + 1) << "detached in one step with the exclusion";
  EXPECT_EQ(vma_.begin(mm_), ReadTry::contended);
  EXPECT_FALSE(detached.is_set());
  go_on.set();
  detached.wait();
  reader_.wait();
  EXPECT_EQ(outcome, ReadTry::contended);
  EXPECT_EQ(vma_.count(), 0u);
  EXPECT_EQ(vma_.begin(mm_), ReadTry::contended) << "its mark is seen first, while the hold lasts";
  end_write_hold();
  EXPECT_EQ(vma_.begin(mm_), ReadTry::detached);
}

// Under TSan: the reader's look at `owner` is before the new owner is written. The threads are told
// their turns by relaxed atomics, which order nothing.
TEST_F(VmaRefcountLock, a_detach_that_need_not_wait_still_comes_after_readers_that_have_left) {
  std::atomic<int> turn{0};
  const auto await = [&](int n) {
    while (turn.load(std::memory_order_relaxed) != n) std::this_thread::yield();
  };
  ReadTry outcome{};
  std::thread reader([&] {
    {
      const OnHook hook(Hook::read_before_increment, [&] {
        turn.store(1, std::memory_order_relaxed);
        await(2);
      });
      outcome = vma_.begin(mm_);
    }
    turn.store(3, std::memory_order_relaxed);
  });
  std::thread writer([&] {
    await(1);
    mm_.lock_write();
    EXPECT_TRUE(vma_.lock_write(mm_));
    turn.store(2, std::memory_order_relaxed);
    await(3);
    Lock::detach(vma_.near, vma_.far, mm_);
    EXPECT_TRUE(Lock::init(vma_.near, vma_.far, other_));
    mm_.unlock_write();
  });
  reader.join();
  writer.join();
  EXPECT_EQ(outcome, ReadTry::contended);
  EXPECT_EQ(vma_.count(), 0u);
}

TEST_F(VmaRefcountLock, a_reader_that_leaves_just_before_detach_excludes_does_not_hang_it) {
  mm_.lock_write();
  ASSERT_TRUE(vma_.lock_write(mm_));
  vma_.set_count(2);
  const OnHook hook(Hook::detach_before_exclude, [&] { vma_.set_count(1); });
  Lock::detach(vma_.near, vma_.far, mm_);
  EXPECT_EQ(vma_.count(), 0u);
  mm_.unlock_write();
}

// R14, R16: the memory was reused for another space between the look-up and the increment.
TEST_F(VmaRefcountLock, a_stale_pointer_to_a_vma_of_another_space_answers_detached) {
  const OnHook hook(Hook::read_before_increment, [&] {
    writer_.run([&] {
      vma_.lock_and_detach(mm_);
      vma_.init_and_attach(other_);
    });
  });
  EXPECT_EQ(vma_.begin(mm_), ReadTry::detached);
  EXPECT_EQ(vma_.count(), 1u);
}

TEST_F(VmaRefcountLock, a_foreign_reader_that_backs_out_wakes_the_new_owners_writer) {
  Signal counted;
  Signal go_on;
  ReadTry outcome{};
  reader_.start([&] {
    t_on_hook = [&](Hook at) {
      if (at == Hook::read_before_increment) {
        writer_.run([&] {
          vma_.lock_and_detach(mm_);
          vma_.init_and_attach(other_);
        });
      }
      if (at == Hook::read_after_increment) {
        counted.set();
        go_on.wait();
      }
    };
    outcome = vma_.begin(mm_);
    t_on_hook = nullptr;
  });
  counted.wait();
  Signal asleep_soon;
  writer_.start([&] {
    other_.lock_write();
    const OnHook hook(Hook::write_before_sleep, [&] { asleep_soon.set(); });
    got_it_ = vma_.lock_write(other_);
  });
  asleep_soon.wait();
  go_on.set();
  writer_.wait();
  reader_.wait();
  EXPECT_TRUE(got_it_);
  EXPECT_EQ(outcome, ReadTry::detached);
  writer_.run([&] { other_.unlock_write(); });
}

TEST_F(VmaRefcountLock, a_wake_up_that_comes_after_the_memory_is_gone_touches_nothing) {
  // The reader has counted down and is about to wake; meanwhile the VMA is unmapped for good.
  auto vma = std::make_unique<TestVma<Lock, Mm>>();
  vma->init_and_attach(mm_);
  Signal counted_down;
  Signal freed;
  reader_.start([&] {
    ASSERT_EQ(vma->begin(mm_), ReadTry::locked);
    counted_down.set();
  });
  counted_down.wait();
  reader_.wait();
  Signal excluded;
  writer_.start([&] {
    mm_.lock_write();
    {
      const OnHook hook(Hook::write_after_exclude, [&] { excluded.set(); });
      ASSERT_TRUE(vma->lock_write(mm_));
    }
    Lock::detach(vma->near, vma->far, mm_);
    mm_.unlock_write();
    vma.reset();
    freed.set();
  });
  excluded.wait();
  reader_.run([&] {
    auto& far = vma->far;
    const OnHook hook(Hook::read_before_wake, [&] {
      NativePlatform::wake_one(&far.vm_refcnt);  // Stands for a writer that was still spinning.
      freed.wait();
    });
    Lock::end_read(far, {});
  });
  writer_.wait();
}

TEST_F(VmaRefcountLock, under_the_mmap_read_lock_a_read_always_starts) {
  mm_.lock_read();
  EXPECT_EQ(Lock::start_read_locked(vma_.near, vma_.far, mm_).outcome, ReadTry::locked);
  EXPECT_EQ(vma_.count(), 2u);
  mm_.unlock_read();
  EXPECT_TRUE(Lock::is_read_locked_or_more(vma_.near, vma_.far, mm_));
  vma_.end();
  EXPECT_FALSE(Lock::is_read_locked_or_more(vma_.near, vma_.far, mm_));
  mm_.lock_read();
  vma_.set_count(Lock::kLimit);
  EXPECT_EQ(Lock::start_read_locked(vma_.near, vma_.far, mm_).outcome, ReadTry::contended);
  vma_.set_count(1);
  mm_.unlock_read();
}

TEST_F(VmaRefcountLock, assertions_tell_write_locked_from_unlocked) {
  EXPECT_FALSE(Lock::is_read_locked_or_more(vma_.near, vma_.far, mm_));
  mm_.lock_write();
  EXPECT_FALSE(Lock::is_read_locked_or_more(vma_.near, vma_.far, mm_));
  ASSERT_TRUE(vma_.lock_write(mm_));
  EXPECT_TRUE(Lock::is_read_locked_or_more(vma_.near, vma_.far, mm_));
  mm_.unlock_write();
}

TEST_F(VmaRefcountLock, in_debug_another_threads_read_lock_does_not_count_as_ours) {
  if (!kDebugChecks) GTEST_SKIP() << "a count alone cannot tell";
  ASSERT_EQ(reader_.ask([&] { return vma_.begin(mm_); }), ReadTry::locked);
  EXPECT_FALSE(Lock::is_read_locked_or_more(vma_.near, vma_.far, mm_));
  reader_.run([&] {
    EXPECT_TRUE(Lock::is_read_locked_or_more(vma_.near, vma_.far, mm_));
    vma_.end();
  });
}

class VmaRefcountLockDeathTest : public VmaRefcountLock {};

TEST_F(VmaRefcountLockDeathTest, write_lock_needs_the_mmap_write_lock) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH((void)vma_.lock_write(mm_), "is_held_for_write");
}

TEST_F(VmaRefcountLockDeathTest, attach_needs_the_vma_write_locked) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  TestVma<Lock, Mm> vma;
  ASSERT_TRUE(Lock::init(vma.near, vma.far, mm_));
  EXPECT_DEATH(
      {
        mm_.lock_write();
        Lock::attach(vma.near, vma.far, mm_);
      },
      "is_write_locked");
}

TEST_F(VmaRefcountLockDeathTest, a_vma_with_a_reader_is_not_given_back) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(Lock::retire(vma_.near, vma_.far), "vm_refcnt");
}

TEST_F(VmaRefcountLockDeathTest, in_debug_a_read_is_ended_by_the_thread_that_began_it) {
  if (!kDebugChecks) GTEST_SKIP();
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        (void)reader_.ask([&] { return vma_.begin(mm_); });
        vma_.end();
      },
      "does not hold it");
}

TEST_F(VmaRefcountLockDeathTest, in_debug_no_wait_for_the_mmap_lock_under_a_vma_read_lock) {
  if (!kDebugChecks) GTEST_SKIP();
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        (void)vma_.begin(mm_);
        mm_.lock_read();
      },
      "mmap lock under a VMA read lock");
}

TEST_F(VmaRefcountLockDeathTest, in_debug_no_write_lock_of_a_vma_under_a_vma_read_lock) {
  if (!kDebugChecks) GTEST_SKIP();
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  TestVma<Lock, Mm> second;
  second.init_and_attach(mm_);
  EXPECT_DEATH(
      {
        mm_.lock_write();
        (void)vma_.begin(mm_);
        (void)second.lock_write(mm_);
      },
      "write-lock of a VMA under a VMA read lock");
  second.lock_and_detach(mm_);
}

}  // namespace
}  // namespace pervma::test

#include "sync/mmap_lock.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

#include "actor.h"
#include "hooked_platform.h"

namespace pervma::test {
namespace {

using Mm = HookedMmapLock;
using Read = BasicMmapRead<HookedPlatform>;
using Write = BasicMmapWrite<HookedPlatform>;

// A thread that wants the lock, with what came of it.
class Wanter {
 public:
  // Begins to wait; stands in the queue when this returns.
  void queue_for_read(Mm& mm, const std::stop_token& stop = {}) {
    queue([&mm, stop] { return mm.lock_read(stop); });
  }
  void queue_for_write(Mm& mm, const std::stop_token& stop = {}) {
    queue([&mm, stop] { return mm.lock_write(stop); });
  }
  bool has_answer() { return answered_->is_set(); }
  bool answer() {
    answered_->wait();
    return got_it_;
  }
  void unlock_read(Mm& mm) {
    actor_.run([&] { mm.unlock_read(); });
  }
  void unlock_write(Mm& mm) {
    actor_.run([&] { mm.unlock_write(); });
  }

 private:
  void queue(std::function<bool()> lock) {
    Signal queued;
    answered_ = std::make_unique<Signal>();
    actor_.start([this, &queued, lock = std::move(lock)] {
      {
        const OnHook hook(Hook::queue_after_push, [&] { queued.set(); });
        got_it_ = lock();
      }
      answered_->set();
    });
    queued.wait();
  }

  std::unique_ptr<Signal> answered_;
  bool got_it_ = false;
  Actor actor_;
};

TEST(MmapLock, readers_share_and_a_writer_is_alone) {
  Mm mm;
  Actor other;
  mm.lock_read();
  EXPECT_TRUE(other.ask([&] { return mm.try_lock_read(); }));
  other.run([&] { mm.unlock_read(); });
  mm.unlock_read();
  mm.lock_write();
  EXPECT_TRUE(mm.is_held_for_write());
  EXPECT_FALSE(other.ask([&] { return mm.try_lock_read(); }));
  mm.unlock_write();
  EXPECT_FALSE(mm.is_held_for_write());
}

TEST(MmapLock, a_writer_waits_for_the_reader_and_a_later_reader_for_the_writer) {
  Mm mm;
  Wanter writer;
  Wanter reader;
  mm.lock_read();
  writer.queue_for_write(mm);
  Actor other;
  EXPECT_FALSE(other.ask([&] { return mm.try_lock_read(); })) << "nobody overtakes a waiter";
  reader.queue_for_read(mm);
  EXPECT_FALSE(writer.has_answer());
  mm.unlock_read();
  EXPECT_TRUE(writer.answer());
  EXPECT_FALSE(reader.has_answer());
  writer.unlock_write(mm);
  EXPECT_TRUE(reader.answer());
  reader.unlock_read(mm);
}

TEST(MmapLock, a_reader_is_not_overtaken_by_a_later_writer) {
  Mm mm;
  Wanter reader;
  Wanter writer;
  mm.lock_write();
  reader.queue_for_read(mm);
  writer.queue_for_write(mm);
  mm.unlock_write();
  EXPECT_TRUE(reader.answer());
  EXPECT_FALSE(writer.has_answer());
  reader.unlock_read(mm);
  EXPECT_TRUE(writer.answer());
  writer.unlock_write(mm);
}

TEST(MmapLock, when_the_first_waiter_is_a_reader_all_waiting_readers_enter) {
  Mm mm;
  Wanter first;
  Wanter writer;
  Wanter second;
  mm.lock_write();
  first.queue_for_read(mm);
  writer.queue_for_write(mm);
  second.queue_for_read(mm);
  mm.unlock_write();
  EXPECT_TRUE(first.answer());
  EXPECT_TRUE(second.answer());
  EXPECT_FALSE(writer.has_answer());
  first.unlock_read(mm);
  EXPECT_FALSE(writer.has_answer());
  second.unlock_read(mm);
  EXPECT_TRUE(writer.answer());
  writer.unlock_write(mm);
}

TEST(MmapLock, writers_enter_in_the_order_they_came) {
  Mm mm;
  std::vector<std::unique_ptr<Wanter>> writers;
  mm.lock_write();
  for (int i = 0; i < 4; ++i) {
    writers.push_back(std::make_unique<Wanter>());
    writers.back()->queue_for_write(mm);
  }
  mm.unlock_write();
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(writers[i]->answer());
    for (int j = i + 1; j < 4; ++j) EXPECT_FALSE(writers[j]->has_answer());
    writers[i]->unlock_write(mm);
  }
}

TEST(MmapLock, a_downgrade_lets_no_writer_in_between) {
  Mm mm;
  Wanter writer;
  mm.lock_write();
  writer.queue_for_write(mm);
  const uint64_t seq = mm.seq_relaxed();
  mm.downgrade();
  EXPECT_EQ(mm.seq_relaxed(), seq + 1);
  EXPECT_FALSE(mm.is_held_for_write());
  EXPECT_FALSE(writer.has_answer());
  Actor other;
  EXPECT_FALSE(other.ask([&] { return mm.try_lock_read(); })) << "the writer is first in line";
  mm.unlock_read();
  EXPECT_TRUE(writer.answer());
  writer.unlock_write(mm);
}

TEST(MmapLock, a_downgrade_lets_the_readers_at_the_head_in) {
  Mm mm;
  Wanter reader;
  mm.lock_write();
  reader.queue_for_read(mm);
  mm.downgrade();
  EXPECT_TRUE(reader.answer());
  mm.unlock_read();
  reader.unlock_read(mm);
}

TEST(MmapLock, a_stop_ends_the_wait_of_a_reader_and_of_a_writer) {
  Mm mm;
  std::stop_source stop;
  Wanter reader;
  Wanter writer;
  mm.lock_write();
  reader.queue_for_read(mm, stop.get_token());
  writer.queue_for_write(mm, stop.get_token());
  stop.request_stop();
  EXPECT_FALSE(reader.answer());
  EXPECT_FALSE(writer.answer());
  mm.unlock_write();
  EXPECT_TRUE(mm.try_lock_read()) << "nobody is left in the queue";
  mm.unlock_read();
}

TEST(MmapLock, readers_behind_a_writer_that_gives_up_join_the_readers_inside) {
  Mm mm;
  std::stop_source stop;
  Wanter writer;
  Wanter reader;
  mm.lock_read();
  writer.queue_for_write(mm, stop.get_token());
  reader.queue_for_read(mm);
  stop.request_stop();
  EXPECT_FALSE(writer.answer());
  EXPECT_TRUE(reader.answer());
  reader.unlock_read(mm);
  mm.unlock_read();
}

TEST(MmapLock, a_stop_that_comes_after_the_grant_is_too_late) {
  Mm mm;
  std::stop_source stop;
  Actor waiter;
  Signal queued;
  mm.lock_write();
  bool got_it = false;
  Signal cancelling;
  Signal granted;
  waiter.start([&] {
    t_on_hook = [&](Hook at) {
      if (at == Hook::queue_after_push) queued.set();
      if (at == Hook::queue_before_cancel) {
        cancelling.set();
        granted.wait();
      }
    };
    got_it = mm.lock_read(stop.get_token());
    t_on_hook = nullptr;
  });
  queued.wait();
  Actor stopper;
  stopper.start([&] { stop.request_stop(); });
  cancelling.wait();
  mm.unlock_write();
  granted.set();
  waiter.wait();
  EXPECT_TRUE(got_it);
  waiter.run([&] { mm.unlock_read(); });
}

TEST(MmapLock, a_token_stopped_before_the_call_gives_false_even_when_the_lock_is_free) {
  Mm mm;
  std::stop_source stop;
  stop.request_stop();
  EXPECT_FALSE(mm.lock_read(stop.get_token()));
  EXPECT_FALSE(mm.lock_write(stop.get_token()));
  EXPECT_FALSE(mm.is_held_for_write());
  mm.lock_write();
  mm.unlock_write();
}

TEST(MmapLock, the_sequence_is_odd_exactly_while_a_writer_is_in) {
  Mm mm;
  const uint64_t start = mm.seq_acquire();
  EXPECT_EQ(start % 2, 0u);
  mm.lock_write();
  EXPECT_EQ(mm.seq_relaxed(), start + 1);
  mm.unlock_write();
  EXPECT_EQ(mm.seq_relaxed(), start + 2);
  mm.lock_read();
  EXPECT_EQ(mm.seq_relaxed(), start + 2);
  mm.unlock_read();
  EXPECT_EQ(mm.seq_relaxed(), start + 2);
}

TEST(MmapLock, speculation_fails_under_a_writer_and_after_one) {
  Mm mm;
  const auto before = mm.speculate_try_begin();
  ASSERT_TRUE(before.has_value());
  EXPECT_FALSE(mm.speculate_retry(*before));
  mm.lock_read();
  EXPECT_FALSE(mm.speculate_retry(*before)) << "a reader changes nothing";
  mm.unlock_read();
  mm.lock_write();
  EXPECT_FALSE(mm.speculate_try_begin().has_value());
  EXPECT_TRUE(mm.speculate_retry(*before));
  mm.downgrade();
  EXPECT_TRUE(mm.speculate_retry(*before));
  EXPECT_TRUE(mm.speculate_try_begin().has_value());
  mm.unlock_read();
}

TEST(MmapLock, acquisitions_are_counted_and_failed_tries_are_not) {
  Mm mm;
  Actor other;
  mm.lock_read();
  mm.unlock_read();
  mm.lock_write();
  EXPECT_FALSE(other.ask([&] { return mm.try_lock_read(); }));
  mm.downgrade();
  EXPECT_TRUE(other.ask([&] { return mm.try_lock_read(); }));
  other.run([&] { mm.unlock_read(); });
  mm.unlock_read();
  EXPECT_EQ(mm.stats().read, 3u);
  EXPECT_EQ(mm.stats().write, 1u);
  EXPECT_EQ(mm.stats().wait_ns, 0u);
  EXPECT_EQ(mm.stats().sleeps, 0u);
  Wanter reader;
  Wanter writer;
  mm.lock_write();
  reader.queue_for_read(mm);
  mm.unlock_write();
  EXPECT_TRUE(reader.answer());
  writer.queue_for_write(mm);
  reader.unlock_read(mm);
  EXPECT_TRUE(writer.answer());
  writer.unlock_write(mm);
  EXPECT_EQ(mm.stats().read, 4u);
  EXPECT_EQ(mm.stats().write, 3u);
  EXPECT_GT(mm.stats().wait_ns, 0u);
}

// A spinner that goes on for as long as it is asked, and tells the test.
struct EagerSpinner {
  static inline thread_local std::function<void()> t_on_spin;
  explicit EagerSpinner(SpinBudget) noexcept {}
  [[nodiscard]] bool spin() noexcept {
    if (t_on_spin) t_on_spin();
    return true;
  }
  [[nodiscard]] bool is_yielding() const noexcept { return true; }
};
struct EagerPlatform : HookedPlatform {
  using Spinner = EagerSpinner;
};

TEST(MmapLock, who_finds_the_lock_free_while_competing_never_queues) {
  BasicMmapLock<EagerPlatform> mm;
  Actor waiter;
  Actor holder;
  bool queued = false;
  std::optional<BasicMmapWrite<EagerPlatform>> held;
  holder.run([&] { held.emplace(mm); });
  waiter.run([&] {
    t_on_hook = [&](Hook at) { queued |= at == Hook::queue_after_push; };
    int spins = 0;
    EagerSpinner::t_on_spin = [&] {
      if (++spins == 3) holder.run([&] { held.reset(); });
    };
    const BasicMmapRead<EagerPlatform> read(mm);
    EXPECT_EQ(spins, 3);
    EagerSpinner::t_on_spin = nullptr;
    t_on_hook = nullptr;
  });
  EXPECT_FALSE(queued);
}

TEST(MmapLock, a_writer_that_finds_readers_inside_stops_competing) {
  BasicMmapLock<EagerPlatform> mm;
  Actor writer;
  Signal queued;
  std::optional<BasicMmapRead<EagerPlatform>> held(std::in_place, mm);
  writer.start([&] {
    const OnHook hook(Hook::queue_after_push, [&] { queued.set(); });
    const BasicMmapWrite<EagerPlatform> write(mm);
  });
  queued.wait();
  held.reset();
  writer.wait();
  EXPECT_EQ(mm.stats().write, 1u);
}

TEST(MmapGuards, hold_the_lock_while_they_live) {
  Mm mm;
  {
    const Read read(mm);
    EXPECT_TRUE(read.holds(mm));
    mm.assert_held();
  }
  {
    const Write write(mm);
    EXPECT_TRUE(write.holds(mm));
    mm.assert_held_write();
  }
  EXPECT_EQ(mm.stats().read, 1u);
  EXPECT_EQ(mm.stats().write, 1u);
  EXPECT_FALSE(mm.is_held_for_write());
}

TEST(MmapGuards, a_moved_from_guard_holds_nothing) {
  Mm mm;
  Actor other;
  {
    std::optional<Write> write = Write::lock(mm, {});
    ASSERT_TRUE(write.has_value());
    Write moved = std::move(*write);
    EXPECT_FALSE(write->holds(mm));
    write.reset();
    EXPECT_TRUE(mm.is_held_for_write());
    const Read read = downgrade(std::move(moved));
    EXPECT_TRUE(read.holds(mm));
    EXPECT_FALSE(mm.is_held_for_write());
    EXPECT_TRUE(other.ask([&] { return Read::try_lock(mm).has_value(); }));
  }
  EXPECT_EQ(mm.stats().read, 2u);
}

TEST(MmapGuards, give_nothing_when_the_try_fails_or_a_stop_came) {
  Mm mm;
  Actor other;
  std::stop_source stop;
  stop.request_stop();
  const Write write(mm);
  other.run([&] {
    EXPECT_FALSE(Read::try_lock(mm).has_value());
    EXPECT_FALSE(Read::lock_killable(mm, stop.get_token()).has_value());
    EXPECT_FALSE(Write::lock(mm, stop.get_token()).has_value());
  });
}

class MmapLockDeathTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!kDebugChecks) GTEST_SKIP() << "checked in debug builds";
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }
  Mm mm_;
};

TEST_F(MmapLockDeathTest, a_thread_releases_only_what_it_holds) {
  Actor other;
  mm_.lock_read();
  EXPECT_DEATH(other.run([&] { mm_.unlock_read(); }), "does not hold it");
  mm_.unlock_read();
  mm_.lock_write();
  EXPECT_DEATH(other.run([&] { mm_.unlock_write(); }), "does not hold it");
  EXPECT_DEATH(other.run([&] { mm_.downgrade(); }), "does not hold it");
  mm_.unlock_write();
}

TEST_F(MmapLockDeathTest, nobody_takes_it_twice) {
  const Read read(mm_);
  EXPECT_DEATH(mm_.lock_read(), "that this thread holds");
  EXPECT_DEATH(mm_.lock_write(), "that this thread holds");
}

TEST_F(MmapLockDeathTest, it_is_not_destroyed_while_held) {
  EXPECT_DEATH(
      {
        Mm mm;
        mm.lock_read();
      },
      "kHeld");
}

TEST_F(MmapLockDeathTest, assertions_ask_for_this_thread) {
  Actor other;
  mm_.lock_read();
  mm_.assert_held();
  EXPECT_DEATH(mm_.assert_held_write(), "is_held_for_write");
  EXPECT_DEATH(other.run([&] { mm_.assert_held(); }), "is not");
  mm_.unlock_read();
  mm_.lock_write();
  mm_.assert_held();
  EXPECT_DEATH(other.run([&] { mm_.assert_held_write(); }), "is not");
  mm_.unlock_write();
}

}  // namespace
}  // namespace pervma::test

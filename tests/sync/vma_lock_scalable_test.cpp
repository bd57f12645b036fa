// The slots of hot VMAs: promotion, demotion, and both kinds of readers beside a writer.
#include "sync/vma_lock_scalable.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stop_token>
#include <thread>
#include <vector>

#include "actor.h"
#include "hooked_platform.h"

namespace pervma::test {
namespace {

using Lock = BasicScalableLock<HookedPlatform>;
using Mm = HookedMmapLock;
using Attempt = Lock::Attempt;

class ScalableLockTest : public ::testing::Test {
 protected:
  void SetUp() override {
    t_cpu = 0;
    attach(mm_);
  }
  void TearDown() override {
    if (!Lock::is_detached(far_)) detach(*space_);
    Lock::retire(near_, far_);
  }

  Attempt begin(const Mm& mm) {
    const RcuReader rcu;
    return Lock::begin_read(near_, far_, mm);
  }
  Attempt begin() { return begin(mm_); }
  Attempt begin_on(uint32_t cpu) {
    t_cpu = cpu;
    return begin();
  }
  void end(const Attempt& attempt) { Lock::end_read(far_, attempt.token); }
  bool lock_write(Mm& mm, const std::stop_token& stop = {}) {
    return Lock::lock_write(near_, far_, mm, stop);
  }
  void attach(Mm& mm) {
    ASSERT_TRUE(Lock::init(near_, far_, mm));
    mm.lock_write();
    ASSERT_TRUE(lock_write(mm));
    Lock::attach(near_, far_, mm);
    mm.unlock_write();
    space_ = &mm;
  }
  void detach(Mm& mm) {
    mm.lock_write();
    ASSERT_TRUE(lock_write(mm));
    Lock::detach(near_, far_, mm);
    mm.unlock_write();
  }
  void write_once() {
    mm_.lock_write();
    ASSERT_TRUE(lock_write(mm_));
    mm_.unlock_write();
  }
  // Another reader inside makes every first exchange fail.
  void fail_exchanges(uint32_t times) {
    const Attempt inside = begin();
    for (uint32_t i = 0; i < times; ++i) end(begin());
    end(inside);
  }
  void make_hot() {
    fail_exchanges(Lock::kFailuresToPromote);
    ASSERT_TRUE(is_hot());
  }
  void use(uint32_t times) {
    for (uint32_t i = 0; i < times; ++i) end(begin());
  }
  bool is_hot() const { return Lock::is_hot(far_); }
  uint32_t count() const { return far_.vm_refcnt.load(std::memory_order_relaxed); }
  uint32_t slot(uint32_t cpu) const {
    return far_.hot.load(std::memory_order_relaxed)
        ->slots()[cpu]
        .count.load(std::memory_order_relaxed);
  }

  void start_write_lock(const std::stop_token& stop = {}) {
    // Shared: the writer may sleep again, on another word, when this function has returned.
    const auto waits = std::make_shared<Signal>();
    writer_.start([this, waits, stop] {
      mm_.lock_write();
      {
        const OnHook hook(Hook::write_before_sleep, [waits] { waits->set(); });
        got_it_ = lock_write(mm_, stop);
      }
      is_in_.store(true);
    });
    waits->wait();
  }
  void finish_write() {
    writer_.wait();
    EXPECT_TRUE(got_it_);
    writer_.run([&] { mm_.unlock_write(); });
  }

  Mm mm_;
  Mm other_;
  Mm* space_ = nullptr;
  Lock::Near near_;
  Lock::Far far_;
  bool got_it_ = false;
  std::atomic<bool> is_in_{false};
  Actor writer_;
  Actor reader_;
};

TEST_F(ScalableLockTest, a_vma_is_hot_after_64_failed_exchanges_and_not_before) {
  use(1000);
  EXPECT_FALSE(is_hot());
  fail_exchanges(Lock::kFailuresToPromote - 1);
  EXPECT_FALSE(is_hot());
  fail_exchanges(1);
  EXPECT_TRUE(is_hot());
}

TEST_F(ScalableLockTest, a_write_forgets_the_failures_before_it) {
  fail_exchanges(Lock::kFailuresToPromote - 1);
  write_once();
  fail_exchanges(Lock::kFailuresToPromote - 1);
  EXPECT_FALSE(is_hot());
}

TEST_F(ScalableLockTest, without_memory_a_vma_stays_as_it_is) {
  t_has_memory = false;
  fail_exchanges(Lock::kFailuresToPromote);
  t_has_memory = true;
  EXPECT_FALSE(is_hot());
  EXPECT_EQ(count(), 1u);
}

TEST_F(ScalableLockTest, readers_of_a_hot_vma_write_the_slot_of_their_cpu_only) {
  make_hot();
  const Attempt a = begin_on(1);
  const Attempt b = begin_on(2);
  EXPECT_EQ(a.outcome, ReadTry::locked);
  EXPECT_EQ(count(), 1u);
  EXPECT_EQ(slot(0), 1u);
  EXPECT_EQ(slot(1), 2u);
  EXPECT_EQ(slot(2), 2u);
  EXPECT_EQ(Lock::reader_count(far_), 2u);
  t_cpu = 3;  // Moved meanwhile: a read ends where it began.
  end(a);
  end(b);
  EXPECT_EQ(slot(1), 1u);
  EXPECT_EQ(slot(2), 1u);
  EXPECT_EQ(slot(3), 1u);
}

TEST_F(ScalableLockTest, a_writer_drains_the_count_word_and_every_slot) {
  const Attempt on_count = begin();
  make_hot();
  const Attempt first = begin_on(0);
  const Attempt last = begin_on(3);
  start_write_lock();
  end(on_count);
  while (slot(0) < Lock::Count::kExclude) std::this_thread::yield();  // It goes on to the slots.
  EXPECT_EQ(begin_on(0).outcome, ReadTry::contended);
  end(first);
  EXPECT_FALSE(is_in_.load());
  end(last);
  finish_write();
}

TEST_F(ScalableLockTest, a_promotion_beside_a_waiting_writer_is_not_missed) {
  const Attempt inside = begin();
  Attempt promoter{};
  Attempt on_slot{};
  for (uint32_t i = 0; i + 1 < Lock::kFailuresToPromote; ++i) end(begin());
  {
    // Validated, about to publish: a writer comes, and waits for the two on the count word.
    const OnHook hook(Hook::hot_before_publish, [&] { start_write_lock(); });
    promoter = begin();
  }
  ASSERT_TRUE(is_hot());
  // Slots are open although a writer waits: nothing is marked yet.
  on_slot = reader_.ask([&] { return begin(); });
  ASSERT_EQ(on_slot.outcome, ReadTry::locked);
  ASSERT_NE(on_slot.token.word, &far_.vm_refcnt);
  end(inside);
  end(promoter);
  // Had the writer looked for slots when it came, it would be inside now.
  EXPECT_EQ(Lock::reader_count(far_), 1u);
  EXPECT_FALSE(is_in_.load());
  EXPECT_FALSE(Lock::is_write_locked(near_, mm_));
  reader_.run([&] { end(on_slot); });
  finish_write();
}

TEST_F(ScalableLockTest, of_two_promoters_one_gives_its_array_back) {
  const Attempt inside = begin();
  for (uint32_t i = 0; i + 1 < Lock::kFailuresToPromote; ++i) end(begin());
  Lock::Slots* theirs = nullptr;
  {
    const OnHook hook(Hook::hot_before_publish, [&] {
      reader_.run([&] {
        const Attempt also = begin();
        for (uint32_t i = 0; i < Lock::kFailuresToPromote; ++i) end(begin());
        end(also);
      });
      theirs = far_.hot.load();
    });
    end(begin());
  }
  EXPECT_NE(theirs, nullptr);
  EXPECT_EQ(far_.hot.load(), theirs);
  end(inside);
}

TEST_F(ScalableLockTest, a_hot_vma_that_is_read_between_writes_stays_hot) {
  make_hot();
  use(Lock::Slots::kUsesToStay);
  write_once();
  EXPECT_TRUE(is_hot());
  EXPECT_EQ(slot(0), 1u);
  use(1);
  EXPECT_EQ(count(), 1u);
}

TEST_F(ScalableLockTest, a_hot_vma_that_is_written_as_often_as_read_is_demoted) {
  make_hot();
  use(Lock::Slots::kUsesToStay);
  write_once();
  use(Lock::Slots::kUsesToStay - 1);
  write_once();
  EXPECT_FALSE(is_hot());
  const Attempt attempt = begin();
  EXPECT_EQ(attempt.token.word, &far_.vm_refcnt);
  end(attempt);
  make_hot();  // And can become hot again.
}

TEST_F(ScalableLockTest, a_reader_with_a_demoted_array_enters_by_the_count_word) {
  make_hot();
  Attempt attempt{};
  {
    const OnHook hook(Hook::hot_before_increment, [&] { writer_.run([&] { write_once(); }); });
    attempt = begin();
  }
  EXPECT_FALSE(is_hot());
  EXPECT_EQ(attempt.outcome, ReadTry::locked);
  EXPECT_EQ(attempt.token.word, &far_.vm_refcnt);
  end(attempt);
}

TEST_F(ScalableLockTest, a_reader_with_the_array_of_a_reused_vma_answers_detached) {
  make_hot();
  Attempt attempt{};
  {
    const OnHook hook(Hook::hot_before_increment, [&] {
      writer_.run([&] {
        detach(mm_);
        attach(other_);
      });
    });
    attempt = begin();
  }
  EXPECT_EQ(attempt.outcome, ReadTry::detached);
  EXPECT_EQ(Lock::reader_count(far_), 0u);
}

TEST_F(ScalableLockTest, a_stale_reader_that_meets_the_new_owners_slots_backs_out) {
  make_hot();
  detach(mm_);
  attach(other_);
  const Attempt inside = begin(other_);
  for (uint32_t i = 0; i < Lock::kFailuresToPromote; ++i) end(begin(other_));
  end(inside);
  ASSERT_TRUE(is_hot());
  EXPECT_EQ(begin(mm_).outcome, ReadTry::detached);
  EXPECT_EQ(slot(0), 1u);
}

TEST_F(ScalableLockTest, a_reader_that_counted_on_a_slot_before_the_mark_is_waited_for) {
  make_hot();
  Attempt attempt{};
  {
    const OnHook hook(Hook::read_after_increment, [&] { start_write_lock(); });
    attempt = begin();
  }
  ASSERT_EQ(attempt.outcome, ReadTry::locked);
  EXPECT_FALSE(is_in_.load());
  end(attempt);
  finish_write();
}

TEST_F(ScalableLockTest, detach_waits_for_a_reader_that_backs_out_of_a_slot) {
  make_hot();
  use(Lock::Slots::kUsesToStay);
  writer_.run([&] {
    mm_.lock_write();
    ASSERT_TRUE(lock_write(mm_));  // Marked, and still hot.
  });
  ASSERT_TRUE(is_hot());
  Signal detaching;
  // Counted although the VMA is marked, as who looked at the mark before it was made.
  near_.vm_lock_seq.store(Lock::Near::kNever, std::memory_order_relaxed);
  {
    const OnHook hook(Hook::read_after_increment, [&] {
      near_.set(mm_);
      writer_.start([&] {
        const OnHook inner(Hook::write_before_sleep, [&] { detaching.set(); });
        Lock::detach(near_, far_, mm_);
      });
      detaching.wait();
    });
    EXPECT_EQ(begin().outcome, ReadTry::contended);
  }
  writer_.wait();
  EXPECT_TRUE(Lock::is_detached(far_));
  EXPECT_FALSE(is_hot());
  writer_.run([&] { mm_.unlock_write(); });
}

TEST_F(ScalableLockTest, a_stopped_writer_opens_every_slot_again) {
  make_hot();
  const Attempt inside = begin_on(2);
  std::stop_source stop;
  start_write_lock(stop.get_token());
  stop.request_stop();
  writer_.wait();
  EXPECT_FALSE(got_it_);
  EXPECT_EQ(count(), 1u);
  for (const uint32_t cpu : {0u, 1u, 3u}) EXPECT_EQ(slot(cpu), 1u);
  EXPECT_EQ(slot(2), 2u);
  end(inside);
  writer_.run([&] { mm_.unlock_write(); });
}

TEST_F(ScalableLockTest, under_the_mmap_read_lock_the_count_word_serves) {
  make_hot();
  mm_.lock_read();
  const Attempt attempt = Lock::start_read_locked(near_, far_, mm_);
  mm_.unlock_read();
  ASSERT_EQ(attempt.outcome, ReadTry::locked);
  EXPECT_EQ(count(), 2u);
  end(attempt);
}

}  // namespace
}  // namespace pervma::test

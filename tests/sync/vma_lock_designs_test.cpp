// What every design that locks VMAs for read promises, by the same schedules for each.
#include "sync/vma_lock_designs.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stop_token>
#include <type_traits>
#include <vector>

#include "actor.h"
#include "hooked_platform.h"

namespace pervma::test {
namespace {

using Mm = HookedMmapLock;

template <class L>
class VmaLockDesigns : public ::testing::Test {
 protected:
  using Attempt = typename L::Attempt;

  void SetUp() override { attach(mm_); }
  void TearDown() override {
    if (!L::is_detached(far_)) detach(*space_);
    L::retire(near_, far_);
  }

  Attempt begin(const Mm& mm) {
    const RcuReader rcu;
    return L::begin_read(near_, far_, mm);
  }
  ReadTry outcome(const Mm& mm) {
    const Attempt attempt = begin(mm);
    if (attempt.outcome == ReadTry::locked) end(attempt);
    return attempt.outcome;
  }
  void end(const Attempt& attempt) { L::end_read(far_, attempt.token); }
  bool lock_write(Mm& mm, const std::stop_token& stop = {}) {
    return L::lock_write(near_, far_, mm, stop);
  }
  void attach(Mm& mm) {
    ASSERT_TRUE(L::init(near_, far_, mm));
    mm.lock_write();
    ASSERT_TRUE(lock_write(mm));
    L::attach(near_, far_, mm);
    mm.unlock_write();
    space_ = &mm;
  }
  void detach(Mm& mm) {
    mm.lock_write();
    ASSERT_TRUE(lock_write(mm));
    L::detach(near_, far_, mm);
    mm.unlock_write();
  }

  // The writer wants the VMA, and waits for readers when this returns.
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
  void end_write_hold() {
    writer_.run([&] { mm_.unlock_write(); });
  }

  Mm mm_;
  Mm other_;
  Mm* space_ = nullptr;
  typename L::Near near_;
  typename L::Far far_;
  bool got_it_ = false;
  std::atomic<bool> is_in_{false};
  Actor writer_;
  Actor reader_;
};

using Designs =
    ::testing::Types<BasicRwsemLock<HookedPlatform>, BasicRwsemSplitLock<HookedPlatform>,
                     BasicCountLock<HookedPlatform>, BasicRefcountLock<HookedPlatform>,
                     BasicScalableLock<HookedPlatform>>;
struct DesignNames {
  template <class L>
  static std::string GetName(int) {
    return std::string(L::kName);
  }
};
TYPED_TEST_SUITE(VmaLockDesigns, Designs, DesignNames);

TYPED_TEST(VmaLockDesigns, readers_share_a_vma_and_are_counted) {
  using L = TypeParam;
  const auto first = this->begin(this->mm_);
  ASSERT_EQ(first.outcome, ReadTry::locked);
  EXPECT_EQ(this->reader_.ask([&] { return this->outcome(this->mm_); }), ReadTry::locked);
  EXPECT_EQ(L::reader_count(this->far_), 1u);
  EXPECT_TRUE(L::is_read_locked_or_more(this->near_, this->far_, this->mm_));
  EXPECT_TRUE(L::still_valid(this->near_, this->mm_, first.token));
  this->end(first);
  EXPECT_EQ(L::reader_count(this->far_), 0u);
}

TYPED_TEST(VmaLockDesigns, a_write_locked_vma_is_contended_until_the_mmap_hold_ends) {
  this->mm_.lock_write();
  EXPECT_EQ(this->outcome(this->mm_), ReadTry::locked) << "the mmap lock alone excludes nobody";
  ASSERT_TRUE(this->lock_write(this->mm_));
  ASSERT_TRUE(this->lock_write(this->mm_)) << "free the second time";
  EXPECT_TRUE(TypeParam::is_write_locked(this->near_, this->mm_));
  EXPECT_EQ(this->outcome(this->mm_), ReadTry::contended);
  this->mm_.downgrade();
  EXPECT_EQ(this->outcome(this->mm_), ReadTry::locked) << "a downgrade ends all VMA write locks";
  this->mm_.unlock_read();
}

TYPED_TEST(VmaLockDesigns, a_detached_vma_says_so_and_can_be_attached_elsewhere) {
  this->detach(this->mm_);
  EXPECT_TRUE(TypeParam::is_detached(this->far_));
  EXPECT_EQ(this->outcome(this->mm_), ReadTry::detached);
  this->attach(this->other_);
  EXPECT_EQ(this->outcome(this->mm_), ReadTry::detached) << "recycled: not ours any more";
  EXPECT_EQ(this->outcome(this->other_), ReadTry::locked);
  EXPECT_EQ(TypeParam::reader_count(this->far_), 0u);
}

TYPED_TEST(VmaLockDesigns, a_writer_waits_for_the_readers_inside) {
  const auto mine = this->begin(this->mm_);
  const auto theirs = this->reader_.ask([&] { return this->begin(this->mm_); });
  this->start_write_lock();
  this->end(mine);
  EXPECT_FALSE(this->is_in_.load());
  this->reader_.run([&] { this->end(theirs); });
  this->writer_.wait();
  EXPECT_TRUE(this->got_it_);
  EXPECT_EQ(this->outcome(this->mm_), ReadTry::contended);
  this->end_write_hold();
  EXPECT_EQ(this->outcome(this->mm_), ReadTry::locked);
}

// Hand over hand: at every moment some reader is inside. A waiting writer keeps new ones out, so it
// gets in when those before it have left; in `count` it never does while they come (its weakness).
TYPED_TEST(VmaLockDesigns, a_stream_of_readers_starves_a_writer_in_count_and_nowhere_else) {
  constexpr bool kStarves = std::is_same_v<TypeParam, BasicCountLock<HookedPlatform>>;
  auto inside = this->begin(this->mm_);
  ASSERT_EQ(inside.outcome, ReadTry::locked);
  this->start_write_lock();
  for (int i = 0; i < 1000; ++i) {
    const auto next = this->begin(this->mm_);
    ASSERT_EQ(next.outcome, kStarves ? ReadTry::locked : ReadTry::contended);
    if (!kStarves) continue;
    this->end(inside);
    inside = next;
  }
  EXPECT_FALSE(this->is_in_.load());
  this->end(inside);
  this->writer_.wait();
  EXPECT_TRUE(this->got_it_);
  this->end_write_hold();
}

TYPED_TEST(VmaLockDesigns, a_stopped_writer_leaves_everything_as_it_was) {
  const auto mine = this->begin(this->mm_);
  std::stop_source stop;
  this->start_write_lock(stop.get_token());
  stop.request_stop();
  this->writer_.wait();
  EXPECT_FALSE(this->got_it_);
  EXPECT_FALSE(TypeParam::is_write_locked(this->near_, this->mm_));
  EXPECT_EQ(this->outcome(this->mm_), ReadTry::locked);
  this->end_write_hold();
  this->end(mine);
  EXPECT_EQ(TypeParam::reader_count(this->far_), 0u);
  this->writer_.run([&] {
    this->mm_.lock_write();
    EXPECT_TRUE(this->lock_write(this->mm_));
    this->mm_.unlock_write();
  });
}

TYPED_TEST(VmaLockDesigns, a_reader_counted_before_the_mark_backs_out_and_wakes_the_writer) {
  ReadTry outcome{};
  {
    const OnHook hook(Hook::read_after_increment, [&] { this->start_write_lock(); });
    // The writer adds itself while this reader is counted and has compared nothing; it is let go
    // by whichever way the reader takes.
    const auto attempt = this->begin(this->mm_);
    outcome = attempt.outcome;
    if (outcome == ReadTry::locked) {
      EXPECT_FALSE(this->is_in_.load());
      this->end(attempt);
    }
  }
  this->writer_.wait();
  EXPECT_TRUE(this->got_it_);
  EXPECT_EQ(outcome, ReadTry::locked) << "nothing was marked yet";
  this->end_write_hold();
}

TYPED_TEST(VmaLockDesigns, a_reader_that_meets_a_mark_after_it_was_counted_backs_out) {
  // A hold that has marked the VMA under the reader's feet: counted before, compared after.
  ReadTry outcome{};
  this->mm_.lock_write();
  {
    const OnHook hook(Hook::read_before_increment,
                      [&] { ASSERT_TRUE(this->lock_write(this->mm_)); });
    outcome = this->outcome(this->mm_);
  }
  EXPECT_EQ(outcome, ReadTry::contended);
  EXPECT_EQ(TypeParam::reader_count(this->far_), 0u);
  this->mm_.unlock_write();
}

TYPED_TEST(VmaLockDesigns, a_reader_overtaken_by_detach_and_reuse_answers_detached) {
  ReadTry outcome{};
  {
    const OnHook hook(Hook::read_before_increment, [&] {
      this->writer_.run([&] {
        this->detach(this->mm_);
        this->attach(this->other_);
      });
    });
    outcome = this->outcome(this->mm_);
  }
  EXPECT_EQ(outcome, ReadTry::detached);
  EXPECT_EQ(TypeParam::reader_count(this->far_), 0u);
}

TYPED_TEST(VmaLockDesigns, under_the_mmap_read_lock_a_read_always_starts) {
  this->mm_.lock_read();
  const auto attempt = TypeParam::start_read_locked(this->near_, this->far_, this->mm_);
  this->mm_.unlock_read();
  ASSERT_EQ(attempt.outcome, ReadTry::locked);
  this->end(attempt);
}

TEST(RwsemSplit, without_memory_for_its_object_a_vma_cannot_be_made) {
  using L = BasicRwsemSplitLock<HookedPlatform>;
  Mm mm;
  L::Near near;
  L::Far far;
  t_has_memory = false;
  EXPECT_FALSE(L::init(near, far, mm));
  t_has_memory = true;
  EXPECT_TRUE(L::init(near, far, mm));
}

TEST(VmaLockPlaces, are_where_the_designs_say) {
  EXPECT_EQ(RwsemLock::kFarPlace, FarPlace::first_line);
  EXPECT_EQ(CountLock::kFarPlace, FarPlace::second_line);
  EXPECT_EQ(RwsemSplitLock::kOwnObjectBytes, kCacheLine);
  EXPECT_LE(sizeof(ScalableLock::Far), 16u);
}

}  // namespace
}  // namespace pervma::test

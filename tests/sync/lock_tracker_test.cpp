#include "sync/lock_tracker.h"

#include <gtest/gtest.h>

#include <thread>

namespace pervma::test {
namespace {

using Kind = LockTracker::Kind;

class LockTrackerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!kDebugChecks) GTEST_SKIP() << "empty in release";
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }
  int locks_[100] = {};
};
using LockTrackerDeathTest = LockTrackerTest;

TEST_F(LockTrackerTest, knows_what_this_thread_holds) {
  LockTracker::acquired(Kind::mmap_read, &locks_[0]);
  LockTracker::acquired(Kind::vma_read, &locks_[1]);
  EXPECT_TRUE(LockTracker::may_hold(Kind::mmap_read, &locks_[0]));
  EXPECT_FALSE(LockTracker::may_hold(Kind::mmap_write, &locks_[0]));
  EXPECT_FALSE(LockTracker::may_hold(Kind::vma_read, &locks_[0]));
  EXPECT_EQ(LockTracker::count(Kind::vma_read), 1u);
  std::thread([&] { EXPECT_FALSE(LockTracker::may_hold(Kind::mmap_read, &locks_[0])); }).join();
  LockTracker::released(Kind::mmap_read, &locks_[0]);
  EXPECT_FALSE(LockTracker::may_hold(Kind::mmap_read, &locks_[0]));
  EXPECT_TRUE(LockTracker::may_hold(Kind::vma_read, &locks_[1]));
  LockTracker::released(Kind::vma_read, &locks_[1]);
}

TEST_F(LockTrackerTest, a_lock_held_twice_is_released_twice) {
  LockTracker::acquired(Kind::vma_read, &locks_[0]);
  LockTracker::acquired(Kind::vma_read, &locks_[0]);
  LockTracker::released(Kind::vma_read, &locks_[0]);
  EXPECT_TRUE(LockTracker::may_hold(Kind::vma_read, &locks_[0]));
  LockTracker::released(Kind::vma_read, &locks_[0]);
  EXPECT_FALSE(LockTracker::may_hold(Kind::vma_read, &locks_[0]));
}

TEST_F(LockTrackerTest, denies_nothing_while_more_is_held_than_it_names) {
  for (int& lock : locks_) LockTracker::acquired(Kind::vma_read, &lock);
  EXPECT_TRUE(LockTracker::may_hold(Kind::vma_read, &locks_[99]));
  for (int& lock : locks_) LockTracker::released(Kind::vma_read, &lock);
  EXPECT_EQ(LockTracker::count(Kind::vma_read), 0u);
  EXPECT_FALSE(LockTracker::may_hold(Kind::vma_read, &locks_[0]));
}

TEST_F(LockTrackerDeathTest, a_failure_names_what_is_held) {
  LockTracker::acquired(Kind::vma_read, &locks_[1]);
  EXPECT_DEATH(LockTracker::about_to_wait_for_mmap_lock(&locks_[0]), "VMA, read");
  EXPECT_DEATH(LockTracker::about_to_drain_vma(&locks_[0]), "VMA, read");
  EXPECT_DEATH(LockTracker::released(Kind::vma_read, &locks_[2]), "does not hold it");
  LockTracker::released(Kind::vma_read, &locks_[1]);
}

}  // namespace
}  // namespace pervma::test

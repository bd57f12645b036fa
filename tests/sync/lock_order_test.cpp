// The order of locks: what is allowed goes through, and each forbidden wait aborts a debug build
// with the stack of the wait and the stacks of the locks that are held.
#include <gtest/gtest.h>

#include <mutex>

#include "hooked_platform.h"
#include "sync/call_stack.h"
#include "sync/tracked_mutex.h"
#include "test_vma.h"

namespace pervma::test {
namespace {

using Kind = LockTracker::Kind;
using Lock = HookedRefcountLock;
using Mm = HookedMmapLock;

class LockOrder : public ::testing::Test {
 protected:
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    vma_.init_and_attach(mm_);
    other_.init_and_attach(mm_);
  }
  void TearDown() override {
    vma_.lock_and_detach(mm_);
    other_.lock_and_detach(mm_);
  }

  Mm mm_;
  Mm second_;
  TestVma<Lock, Mm> vma_;
  TestVma<Lock, Mm> other_;
  TrackedMutex<Kind::file> file_;
  TrackedMutex<Kind::anon> anon_;
  TrackedMutex<Kind::page_table> table_;
};

class LockOrderDeathTest : public LockOrder {
 protected:
  void SetUp() override {
    if (!kDebugChecks) GTEST_SKIP() << "empty in release";
    LockOrder::SetUp();
  }
  void TearDown() override {
    if (kDebugChecks) LockOrder::TearDown();
  }
  // Both stacks: of the wait, and of what is held.
  static std::string both_stacks(const std::string& what) {
    return "lock check failed: " + what +
           ".*, at:\n(.*\n)+this thread holds:\n(.*\n)*.*taken at:\n.+";
  }
};

TEST_F(LockOrder, a_vma_is_read_under_the_mmap_lock) {
  mm_.lock_read();
  EXPECT_EQ(vma_.begin(mm_), ReadTry::locked);
  mm_.unlock_read();
  vma_.end();
}

TEST_F(LockOrder, a_second_vma_is_tried_and_the_mmap_lock_too) {
  EXPECT_EQ(vma_.begin(mm_), ReadTry::locked);
  EXPECT_EQ(other_.begin(mm_), ReadTry::locked);
  EXPECT_TRUE(mm_.try_lock_read());
  mm_.unlock_read();
  other_.end();
  vma_.end();
}

TEST_F(LockOrder, the_whole_order_downwards) {
  mm_.lock_write();
  EXPECT_TRUE(vma_.lock_write(mm_));
  {
    const std::scoped_lock file(file_);
    const std::scoped_lock anon(anon_);
    const std::scoped_lock table(table_);
  }
  mm_.unlock_write();
}

TEST_F(LockOrder, a_call_stack_has_frames) {
  EXPECT_GE(CallStack::here().depth(), kDebugChecks ? 2u : 1u);
}

// R21.
TEST_F(LockOrderDeathTest, no_wait_for_the_mmap_lock_under_a_vma_read_lock) {
  EXPECT_EQ(vma_.begin(mm_), ReadTry::locked);
  EXPECT_DEATH(mm_.lock_read(), both_stacks("wait for an mmap lock under a VMA read lock"));
  EXPECT_DEATH(mm_.lock_write(), both_stacks("wait for an mmap lock under a VMA read lock"));
  EXPECT_DEATH(second_.lock_read(), both_stacks("wait for an mmap lock under a VMA read lock"));
  vma_.end();
}

TEST_F(LockOrderDeathTest, no_mmap_lock_twice) {
  mm_.lock_read();
  EXPECT_DEATH(mm_.lock_read(), both_stacks("wait for an mmap lock that this thread holds"));
  mm_.unlock_read();
}

// R19: the second VMA is waited for only by a writer, and a writer holds no VMA for read.
TEST_F(LockOrderDeathTest, no_write_lock_of_a_vma_under_a_vma_read_lock) {
  mm_.lock_write();
  EXPECT_EQ(vma_.begin(mm_), ReadTry::locked);
  EXPECT_DEATH((void)other_.lock_write(mm_), both_stacks("write-lock of a VMA under a VMA read"));
  vma_.end();
  mm_.unlock_write();
}

// R4.
TEST_F(LockOrderDeathTest, no_write_lock_of_a_vma_under_a_file_anon_or_page_table_lock) {
  mm_.lock_write();
  {
    const std::scoped_lock file(file_);
    EXPECT_DEATH((void)vma_.lock_write(mm_), both_stacks("write-lock of a VMA under a file lock"));
  }
  {
    const std::scoped_lock anon(anon_);
    EXPECT_DEATH((void)vma_.lock_write(mm_), both_stacks("write-lock of a VMA under an anon lock"));
  }
  {
    const std::scoped_lock table(table_);
    EXPECT_DEATH((void)vma_.lock_write(mm_), both_stacks("write-lock of a VMA under a page-table"));
  }
  mm_.unlock_write();
}

TEST_F(LockOrderDeathTest, no_wait_for_the_mmap_lock_under_a_lock_below_it) {
  {
    const std::scoped_lock file(file_);
    EXPECT_DEATH(mm_.lock_read(), both_stacks("wait for an mmap lock under a file lock"));
  }
  {
    const std::scoped_lock anon(anon_);
    EXPECT_DEATH(mm_.lock_read(), both_stacks("wait for an mmap lock under an anon lock"));
  }
  const std::scoped_lock table(table_);
  EXPECT_DEATH(mm_.lock_read(), both_stacks("wait for an mmap lock under a page-table lock"));
}

TEST_F(LockOrderDeathTest, no_file_or_anon_lock_under_one_below_it) {
  {
    const std::scoped_lock anon(anon_);
    EXPECT_DEATH(file_.lock(), both_stacks("wait for a lock under an anon lock"));
  }
  const std::scoped_lock table(table_);
  EXPECT_DEATH(file_.lock(), both_stacks("wait for a lock under a page-table lock"));
  EXPECT_DEATH(anon_.lock(), both_stacks("wait for a lock under a page-table lock"));
}

}  // namespace
}  // namespace pervma::test

#include "sync/vma_lock_speculative.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "hooked_platform.h"
#include "sync/racy.h"

namespace pervma::test {
namespace {

using Lock = BasicSpeculativeDesign<HookedPlatform>;
using Mm = HookedMmapLock;

class VmaLockSpeculative : public ::testing::Test {
 protected:
  void SetUp() override { attach(mm_); }
  void TearDown() override { detach(*space_); }

  void attach(Mm& mm) {
    ASSERT_TRUE(Lock::init(near_, far_, mm));
    mm.lock_write();
    ASSERT_TRUE(Lock::lock_write(near_, far_, mm));
    Lock::attach(near_, far_, mm);
    mm.unlock_write();
    space_ = &mm;
  }
  void detach(Mm& mm) {
    mm.lock_write();
    ASSERT_TRUE(Lock::lock_write(near_, far_, mm));
    Lock::detach(near_, far_, mm);
    mm.unlock_write();
    Lock::retire(near_, far_);
  }
  Lock::Attempt begin(const Mm& mm) { return Lock::begin_read(near_, far_, mm); }
  bool still_valid(const Lock::Attempt& a) { return Lock::still_valid(near_, mm_, a.token); }

  Mm mm_;
  Mm other_;
  Mm* space_ = nullptr;
  Lock::Near near_;
  Lock::Far far_;
};

TEST_F(VmaLockSpeculative, a_read_is_valid_until_anybody_writes_to_the_space) {
  const Lock::Attempt attempt = begin(mm_);
  ASSERT_EQ(attempt.outcome, ReadTry::locked);
  EXPECT_TRUE(still_valid(attempt));
  mm_.lock_write();  // Not even this VMA.
  EXPECT_FALSE(still_valid(attempt));
  EXPECT_EQ(begin(mm_).outcome, ReadTry::contended);
  mm_.unlock_write();
  EXPECT_FALSE(still_valid(attempt));
  EXPECT_EQ(begin(mm_).outcome, ReadTry::locked);
}

TEST_F(VmaLockSpeculative, a_vma_that_is_gone_or_anothers_says_detached) {
  detach(mm_);
  EXPECT_EQ(begin(mm_).outcome, ReadTry::detached);
  attach(other_);
  EXPECT_EQ(begin(mm_).outcome, ReadTry::detached);
  EXPECT_EQ(begin(other_).outcome, ReadTry::locked);
}

TEST_F(VmaLockSpeculative, no_writer_waits_for_a_reader) {
  const Lock::Attempt attempt = begin(mm_);
  mm_.lock_write();
  EXPECT_TRUE(Lock::lock_write(near_, far_, mm_));
  EXPECT_TRUE(Lock::is_write_locked(near_, mm_));
  EXPECT_EQ(Lock::reader_count(far_), 0u);
  mm_.unlock_write();
  Lock::end_read(far_, attempt.token);
}

// A VMA that changes hands between two spaces, and a reader of the first that copies its fields: a
// copy that was found valid is of a life in the first space, and in one piece.
TEST_F(VmaLockSpeculative, no_valid_copy_is_torn_or_of_another_life) {
  Racy<uint64_t> left;
  Racy<uint64_t> right;
  left = 0;
  right = 0;
  std::atomic<bool> done{false};
  std::atomic<uint64_t> valid{0};
  std::thread reader([&] {
    while (!done.load(std::memory_order_relaxed)) {
      const RcuReader rcu;
      const Lock::Attempt attempt = begin(mm_);
      if (attempt.outcome != ReadTry::locked) continue;
      const uint64_t l = left;
      const uint64_t r = right;
      if (!still_valid(attempt)) continue;
      EXPECT_EQ(l, r);
      EXPECT_EQ(l % 2, 0u) << "written while it was the other space's";
      valid.fetch_add(1, std::memory_order_relaxed);
    }
  });
  const auto write = [&](Mm& mm, uint64_t value) {
    mm.lock_write();
    ASSERT_TRUE(Lock::lock_write(near_, far_, mm));
    left = value;
    right = value;
    mm.unlock_write();
  };
  for (uint64_t i = 0; i < 3000 || valid.load(std::memory_order_relaxed) < 100; ++i) {
    write(mm_, 2 * i);
    if (i % 4 == 0) {
      detach(mm_);
      attach(other_);
      write(other_, 2 * i + 1);
      detach(other_);
      left = 2 * i;
      right = 2 * i;
      attach(mm_);
    }
    if (i % 16 == 0) std::this_thread::yield();
  }
  done.store(true, std::memory_order_relaxed);
  reader.join();
}

}  // namespace
}  // namespace pervma::test

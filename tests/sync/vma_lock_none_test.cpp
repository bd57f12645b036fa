#include "sync/vma_lock_designs.h"

#include <gtest/gtest.h>

namespace pervma::test {
namespace {

using Lock = MmapLockDesign;

TEST(VmaLockNone, no_reader_ever_enters) {
  MmapLock mm;
  Lock::Near near;
  Lock::Far far;
  EXPECT_TRUE(Lock::init(near, far, mm));
  EXPECT_EQ(Lock::begin_read(near, far, mm).outcome, ReadTry::contended);
  mm.lock_write();
  EXPECT_TRUE(Lock::lock_write(near, far, mm));
  Lock::attach(near, far, mm);
  mm.unlock_write();
  EXPECT_EQ(Lock::begin_read(near, far, mm).outcome, ReadTry::contended);
  mm.lock_read();
  EXPECT_EQ(Lock::start_read_locked(near, far, mm).outcome, ReadTry::contended);
  mm.unlock_read();
  EXPECT_EQ(Lock::reader_count(far), 0u);
}

TEST(VmaLockNone, write_locks_are_marked_and_end_with_the_mmap_lock) {
  MmapLock mm;
  Lock::Near near;
  Lock::Far far;
  EXPECT_TRUE(Lock::init(near, far, mm));
  EXPECT_TRUE(Lock::is_detached(far));
  mm.lock_write();
  EXPECT_FALSE(Lock::is_write_locked(near, mm));
  EXPECT_TRUE(Lock::lock_write(near, far, mm));
  EXPECT_TRUE(Lock::is_write_locked(near, mm));
  EXPECT_TRUE(Lock::is_read_locked_or_more(near, far, mm));
  Lock::attach(near, far, mm);
  EXPECT_FALSE(Lock::is_detached(far));
  mm.unlock_write();
  EXPECT_FALSE(Lock::is_write_locked(near, mm));
  EXPECT_FALSE(Lock::is_read_locked_or_more(near, far, mm));
  mm.lock_write();
  EXPECT_TRUE(Lock::lock_write(near, far, mm));
  Lock::detach(near, far, mm);
  EXPECT_TRUE(Lock::is_detached(far));
  mm.unlock_write();
  Lock::retire(near, far);
}

}  // namespace
}  // namespace pervma::test

// The bug scenarios of docs/testing.md that are about the lock alone and need no more than one
// schedule. Those that need all of them are harnesses in verify/.
#include <gtest/gtest.h>

#include "actor.h"
#include "hooked_platform.h"
#include "test_vma.h"

namespace pervma::test {
namespace {

using Lock = HookedRefcountLock;
using Mm = HookedMmapLock;

class R30 : public ::testing::Test {
 protected:
  void SetUp() override { vma_.init_and_attach(mm_); }
  void TearDown() override { vma_.lock_and_detach(mm_); }
  // As many holds as bring an 8-bit sequence back to where it was, less the last `but` steps.
  void let_8_bits_wrap(int but) {
    for (int i = 0; i < 128 - but; ++i) {
      mm_.lock_write();
      mm_.unlock_write();
    }
  }

  Mm mm_;
  TestVma<Lock, Mm> vma_;
  Actor writer_;
};

// With 8 bits the mark of the first hold would equal the sequence again.
TEST_F(R30, a_reader_is_not_refused_because_a_shorter_sequence_would_have_wrapped) {
  mm_.lock_write();
  ASSERT_TRUE(vma_.lock_write(mm_));
  mm_.unlock_write();
  let_8_bits_wrap(1);
  mm_.lock_write();
  EXPECT_EQ(vma_.mark() % 256, mm_.seq_relaxed() % 256);
  EXPECT_EQ(vma_.begin(mm_), ReadTry::locked);
  mm_.unlock_write();
  vma_.end();
}

// And a writer would take it for its own, and change the VMA beside its reader.
TEST_F(R30, a_writer_drains_where_a_shorter_sequence_would_have_wrapped) {
  mm_.lock_write();
  ASSERT_TRUE(vma_.lock_write(mm_));
  mm_.unlock_write();
  ASSERT_EQ(vma_.begin(mm_), ReadTry::locked);
  // Not by this thread: whoever reads a VMA waits for no mmap lock.
  writer_.run([&] { let_8_bits_wrap(1); });
  Signal waits;
  std::atomic<bool> is_in{false};
  writer_.start([&] {
    mm_.lock_write();
    {
      const OnHook hook(Hook::write_before_sleep, [&] { waits.set(); });
      EXPECT_TRUE(vma_.lock_write(mm_));
    }
    is_in.store(true);
    waits.set();
    mm_.unlock_write();
  });
  waits.wait();
  EXPECT_FALSE(is_in.load());
  vma_.end();
  writer_.wait();
}

}  // namespace
}  // namespace pervma::test

#include "sync/refcount.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "sync/native_platform.h"

namespace pervma::test {
namespace {

// Counts the reports instead of printing them.
struct CountingPlatform : NativePlatform {
  static inline int reports = 0;
  static void report_saturated(const void*) noexcept { ++reports; }
};
using CountedRefcount = BasicRefcount<CountingPlatform>;

TEST(Refcount, a_free_object_cannot_be_got) {
  Refcount refs;
  EXPECT_FALSE(refs.get());
  EXPECT_EQ(refs.value(), 0u);
}

TEST(Refcount, the_last_put_says_so) {
  Refcount refs(1);
  EXPECT_TRUE(refs.get());
  EXPECT_EQ(refs.value(), 2u);
  EXPECT_FALSE(refs.put());
  EXPECT_TRUE(refs.put());
  EXPECT_FALSE(refs.get());
}

TEST(Refcount, set_brings_a_free_object_back) {
  Refcount refs(1);
  ASSERT_TRUE(refs.put());
  refs.set(2);
  EXPECT_TRUE(refs.get());
  EXPECT_EQ(refs.value(), 3u);
}

TEST(Refcount, saturates_at_the_limit_and_reports_once) {
  CountingPlatform::reports = 0;
  CountedRefcount refs(CountedRefcount::kLimit - 1);
  EXPECT_TRUE(refs.get());
  EXPECT_EQ(refs.value(), CountedRefcount::kLimit);
  EXPECT_EQ(CountingPlatform::reports, 0);
  EXPECT_TRUE(refs.get());
  EXPECT_TRUE(refs.is_saturated());
  EXPECT_TRUE(refs.get());
  EXPECT_TRUE(refs.is_saturated());
  EXPECT_EQ(CountingPlatform::reports, 1);
}

TEST(Refcount, a_saturated_object_is_never_freed) {
  CountedRefcount refs(CountedRefcount::kLimit);
  EXPECT_TRUE(refs.get());
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(refs.put());
  EXPECT_TRUE(refs.is_saturated());
}

TEST(Refcount, the_report_names_the_object) {
  Refcount refs(Refcount::kLimit);
  testing::internal::CaptureStderr();
  EXPECT_TRUE(refs.get());
  EXPECT_NE(testing::internal::GetCapturedStderr().find("saturated"), std::string::npos);
}

TEST(RefcountDeathTest, a_put_too_many_aborts) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Refcount refs(1);
  ASSERT_TRUE(refs.put());
  EXPECT_DEATH((void)refs.put(), "assertion failed");
}

// Plain data under TSan: what the owner writes before set() is ordered before a get() that
// succeeds, and what holders did before their put() is ordered before the reuse after the last one.
TEST(Refcount, orders_the_uses_of_recycled_memory) {
  struct Object {
    Refcount refs;
    uint64_t value = 0;
  };
  Object object;
  std::atomic<bool> done{false};
  std::atomic<int> rounds{0};
  const auto reuse = [&] {
    object.value += 1;
    object.refs.set(1);
    rounds.fetch_add(1, std::memory_order_relaxed);
  };
  const auto use = [&] {
    while (!done.load(std::memory_order_relaxed)) {
      if (!object.refs.get()) continue;
      EXPECT_NE(object.value, 0u);
      if (object.refs.put()) reuse();
    }
  };
  reuse();
  std::thread first(use);
  std::thread second(use);
  // Gives up the reference that set() made; whoever is the last to leave reuses the object.
  for (int i = 1; i < 20'000; ++i) {
    if (object.refs.put()) reuse();
    while (rounds.load(std::memory_order_relaxed) == i) std::this_thread::yield();
  }
  done.store(true, std::memory_order_relaxed);
  first.join();
  second.join();
  EXPECT_EQ(object.value, 20'000u);
}

}  // namespace
}  // namespace pervma::test

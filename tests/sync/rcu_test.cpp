#include "sync/rcu.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>

#include "actor.h"

namespace pervma::test {
namespace {

TEST(Rcu, sections_nest_and_end) {
  EXPECT_FALSE(rcu_is_reading());
  {
    const RcuReader outer;
    {
      const RcuReader inner;
      EXPECT_TRUE(rcu_is_reading());
    }
    EXPECT_TRUE(rcu_is_reading());
  }
  EXPECT_FALSE(rcu_is_reading());
}

TEST(Rcu, a_thread_needs_no_registration) {
  for (int i = 0; i < 8; ++i) {
    std::thread([] {
      const RcuReader reader;
      EXPECT_TRUE(rcu_is_reading());
    }).join();
  }
  rcu_synchronize();
}

TEST(Rcu, a_grace_period_waits_for_the_reader_inside) {
  Actor reader;
  Actor writer;
  Signal inside;
  Signal leave;
  std::atomic<bool> over{false};
  reader.start([&] {
    const RcuReader section;
    inside.set();
    leave.wait();
    EXPECT_FALSE(over.load(std::memory_order_relaxed));
  });
  inside.wait();
  writer.start([&] {
    rcu_synchronize();
    over.store(true, std::memory_order_relaxed);
  });
  leave.set();
  reader.wait();
  writer.wait();
  EXPECT_TRUE(over.load(std::memory_order_relaxed));
}

// Under ASan a grace period that is too short is a use after free; under TSan a missing edge from
// the reader's end to the writer is a race.
TEST(Rcu, what_a_reader_looks_at_is_freed_only_after_it) {
  struct Box {
    uint64_t value;
  };
  std::atomic<Box*> shared{new Box{1}};
  std::atomic<bool> done{false};
  auto read = [&] {
    while (!done.load(std::memory_order_relaxed)) {
      const RcuReader section;
      const Box* box = shared.load(std::memory_order_acquire);
      std::this_thread::yield();
      EXPECT_NE(box->value, 0u);
    }
  };
  std::thread first(read);
  std::thread second(read);
  for (uint64_t i = 2; i < 300; ++i) {
    Box* old = shared.exchange(new Box{i}, std::memory_order_acq_rel);
    rcu_synchronize();
    old->value = 0;
    delete old;
  }
  done.store(true, std::memory_order_relaxed);
  first.join();
  second.join();
  delete shared.load(std::memory_order_relaxed);
}

TEST(RcuDeathTest, waiting_for_readers_inside_a_section_aborts) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        const RcuReader section;
        rcu_synchronize();
      },
      "rcu_is_reading");
}

}  // namespace
}  // namespace pervma::test

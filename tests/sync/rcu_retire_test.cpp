#include "sync/rcu_retire.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "actor.h"

namespace pervma::test {
namespace {

// Deletes uint64_t objects and counts them.
struct Freed {
  std::atomic<size_t> count{0};
  bool memory_left = true;
  static bool may_allocate(void* context) { return static_cast<Freed*>(context)->memory_left; }
  static void free_one(void* context, void* object) {
    *static_cast<uint64_t*>(object) = 0;  // What a reader must not see.
    delete static_cast<uint64_t*>(object);
    static_cast<Freed*>(context)->count.fetch_add(1, std::memory_order_relaxed);
  }
  size_t now() const { return count.load(std::memory_order_relaxed); }
};

TEST(RcuRetire, the_destructor_frees_an_open_batch) {
  Freed freed;
  {
    RcuRetire retire(&Freed::free_one, &freed);
    for (uint64_t i = 0; i < 5; ++i) retire.retire(new uint64_t(i + 1));
    EXPECT_EQ(retire.pending(), 5u);
    EXPECT_EQ(freed.now(), 0u);
  }
  EXPECT_EQ(freed.now(), 5u);
}

TEST(RcuRetire, the_destructor_waits_for_batches_on_their_way) {
  Freed freed;
  constexpr size_t kObjects = 3 * RcuRetire::kBatch + 7;
  {
    RcuRetire retire(&Freed::free_one, &freed);
    for (uint64_t i = 0; i < kObjects; ++i) retire.retire(new uint64_t(i + 1));
  }
  EXPECT_EQ(freed.now(), kObjects);
}

TEST(RcuRetire, the_destructor_waits_for_a_reader_inside) {
  Freed freed;
  auto retire = std::make_unique<RcuRetire>(&Freed::free_one, &freed);
  retire->retire(new uint64_t(1));
  Actor reader;
  Actor owner;
  Signal inside;
  Signal leave;
  reader.start([&] {
    const RcuReader section;
    inside.set();
    leave.wait();
    EXPECT_EQ(freed.now(), 0u);
  });
  inside.wait();
  owner.start([&] { retire.reset(); });
  for (int i = 0; i < 1000; ++i) std::this_thread::yield();  // A chance to go wrong.
  leave.set();
  owner.wait();
  EXPECT_EQ(freed.now(), 1u);
}

TEST(RcuRetire, nothing_is_freed_while_a_reader_is_inside) {
  Freed freed;
  RcuRetire retire(&Freed::free_one, &freed);
  Actor reader;
  Signal inside;
  Signal leave;
  reader.start([&] {
    const RcuReader section;
    inside.set();
    leave.wait();
  });
  inside.wait();
  for (uint64_t i = 0; i < 2 * RcuRetire::kBatch; ++i) retire.retire(new uint64_t(i + 1));
  retire.flush();
  EXPECT_EQ(freed.now(), 0u);
  EXPECT_EQ(retire.pending(), 2 * RcuRetire::kBatch);
  leave.set();
  rcu_barrier();
  EXPECT_EQ(freed.now(), 2 * RcuRetire::kBatch);
  EXPECT_EQ(retire.pending(), 0u);
}

TEST(RcuRetire, a_flush_starts_the_grace_period_of_a_half_full_batch) {
  Freed freed;
  RcuRetire retire(&Freed::free_one, &freed);
  retire.retire(new uint64_t(1));
  retire.flush();
  rcu_barrier();
  EXPECT_EQ(freed.now(), 1u);
  retire.flush();
  EXPECT_EQ(retire.pending(), 0u);
}

TEST(RcuRetire, a_full_batch_needs_no_flush) {
  Freed freed;
  RcuRetire retire(&Freed::free_one, &freed);
  for (uint64_t i = 0; i < RcuRetire::kBatch; ++i) retire.retire(new uint64_t(i + 1));
  rcu_barrier();
  EXPECT_EQ(freed.now(), RcuRetire::kBatch);
}

TEST(RcuRetire, the_memory_that_waits_is_bounded) {
  Freed freed;
  RcuRetire retire(&Freed::free_one, &freed);
  for (uint64_t i = 0; i < 3 * RcuRetire::kMaxPending; ++i) {
    retire.retire(new uint64_t(i + 1));
    ASSERT_LT(retire.pending(), RcuRetire::kMaxPending + RcuRetire::kBatch);
  }
}

TEST(RcuRetire, what_is_reserved_needs_no_memory_later) {
  Freed freed;
  RcuRetire retire(&Freed::free_one, &freed, &Freed::may_allocate);
  std::vector<uint64_t*> objects;
  for (uint64_t i = 0; i < 3 * RcuRetire::kBatch; ++i) objects.push_back(new uint64_t(i + 1));
  ASSERT_TRUE(retire.reserve(objects.size()));
  freed.memory_left = false;
  {
    const RcuReader reader;  // Freeing on the spot would abort: it waits for readers.
    for (uint64_t* object : objects) retire.retire(object);
    EXPECT_EQ(retire.pending(), objects.size());
    EXPECT_EQ(freed.now(), 0u);
  }
  EXPECT_FALSE(retire.reserve(1));
}

TEST(RcuRetire, without_memory_an_object_is_freed_after_a_grace_period_on_the_spot) {
  Freed freed;
  RcuRetire retire(&Freed::free_one, &freed, &Freed::may_allocate);
  auto* object = new uint64_t(1);
  freed.memory_left = false;
  EXPECT_FALSE(retire.reserve(1));
  retire.retire(object);
  EXPECT_EQ(freed.now(), 1u);
  EXPECT_EQ(retire.pending(), 0u);
}

// Under TSan and ASan: the reader's plain loads and the free must be ordered.
TEST(RcuRetire, readers_never_see_a_freed_object) {
  Freed freed;
  std::atomic<uint64_t*> shared{new uint64_t(1)};
  std::atomic<bool> done{false};
  auto read = [&] {
    while (!done.load(std::memory_order_relaxed)) {
      const RcuReader section;
      const uint64_t* object = shared.load(std::memory_order_acquire);
      std::this_thread::yield();
      EXPECT_NE(*object, 0u);
    }
  };
  std::thread first(read);
  std::thread second(read);
  {
    RcuRetire retire(&Freed::free_one, &freed);
    for (uint64_t i = 2; i < 20'000; ++i) {
      retire.retire(shared.exchange(new uint64_t(i + 1), std::memory_order_acq_rel));
    }
  }
  done.store(true, std::memory_order_relaxed);
  first.join();
  second.join();
  EXPECT_EQ(freed.now(), 19'998u);
  delete shared.load(std::memory_order_relaxed);
}

}  // namespace
}  // namespace pervma::test

#include "tree/type_stable_cache.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <set>
#include <thread>
#include <vector>

namespace pervma {
namespace {

std::atomic<int> made{0};
std::atomic<int> destroyed{0};

// Like a VMA: one word that stale readers look at, and bounds that a free one lends to the cache.
struct alignas(64) Thing {
  std::atomic<uint64_t> state{7};
  union {
    uint64_t bounds;
    void* free_link;
  };

  Thing() noexcept : free_link(nullptr) { made.fetch_add(1); }
  ~Thing() { destroyed.fetch_add(1); }
};

// The link in an atomic, as a T gives it whose every word stale readers may look at.
class Linked {
 public:
  void* free_next() const noexcept { return link_.load(std::memory_order_relaxed); }
  void set_free_next(void* next) noexcept { link_.store(next, std::memory_order_relaxed); }

 private:
  std::atomic<void*> link_{nullptr};
};

template <size_t kBytes>
struct Sized {
  union {
    std::array<char, kBytes> bytes;
    void* free_link;
  };

  Sized() noexcept : free_link(nullptr) { made.fetch_add(1); }
  ~Sized() { destroyed.fetch_add(1); }
};

constexpr uintptr_t kPair = 128;  // two lines

struct TypeStableCacheTest : ::testing::Test {
  TypeStableCacheTest() {
    made = 0;
    destroyed = 0;
  }
};

TEST_F(TypeStableCacheTest, a_freed_object_is_reusable_at_once) {
  TypeStableCache<Thing> cache;
  Thing* a = cache.alloc();
  cache.free(a);
  EXPECT_EQ(cache.alloc(), a);
  cache.free(a);
}

TEST_F(TypeStableCacheTest, an_object_is_constructed_once_and_keeps_its_state_over_frees) {
  TypeStableCache<Thing> cache;
  Thing* a = cache.alloc();
  EXPECT_EQ(a->state.load(), 7U);
  EXPECT_EQ(made.load(), 1);
  a->state.store(42);
  cache.free(a);
  EXPECT_EQ(a->state.load(), 42U);
  ASSERT_EQ(cache.alloc(), a);
  EXPECT_EQ(a->state.load(), 42U);
  EXPECT_EQ(made.load(), 1);
  EXPECT_EQ(destroyed.load(), 0);
  cache.free(a);
}

TEST_F(TypeStableCacheTest, objects_are_distinct_and_aligned) {
  TypeStableCache<Thing> cache;
  std::set<Thing*> all;
  for (int i = 0; i < 5000; ++i) {
    Thing* t = cache.alloc();
    ASSERT_NE(t, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(t) % alignof(Thing), 0U);
    EXPECT_TRUE(all.insert(t).second);
  }
  EXPECT_EQ(cache.stats().live, 5000U);
  EXPECT_GE(cache.stats().bytes, 5000 * sizeof(Thing));
  for (Thing* t : all) cache.free(t);
  EXPECT_EQ(cache.stats().live, 0U);
}

// Strewn over the addresses, their pages would compete for the same sets of the TLB.
TEST_F(TypeStableCacheTest, the_slabs_of_a_small_cache_are_neighbours) {
  TypeStableCache<Thing> cache;
  std::vector<Thing*> all;
  all.reserve(20'000);
  std::set<uintptr_t> chunks;
  for (int i = 0; i < 20'000; ++i) {
    all.push_back(cache.alloc());
    chunks.insert(reinterpret_cast<uintptr_t>(all.back()) >> 21);
  }
  EXPECT_EQ(chunks.size(), 1U);
  EXPECT_LE(cache.stats().bytes, 20'000 * sizeof(Thing) + (size_t{128} << 10));
  for (Thing* t : all) cache.free(t);
}

TEST_F(TypeStableCacheTest, objects_stay_what_they_are_on_huge_pages) {
  TypeStableCache<Thing> cache;
  std::vector<Thing*> all;
  all.reserve(40'000);
  for (uint64_t i = 0; i < 40'000; ++i) {
    all.push_back(cache.alloc());
    all.back()->state.store(i);
    cache.use_huge_pages();
  }
  for (uint64_t i = 0; i < 40'000; ++i) ASSERT_EQ(all[i]->state.load(), i);
  for (Thing* t : all) cache.free(t);
}

TEST_F(TypeStableCacheTest, what_went_back_to_the_system_is_asked_for_again) {
  TypeStableCache<Thing> cache;
  Thing* const first = cache.alloc();  // keeps its slab, and the chunk
  for (int round = 0; round < 3; ++round) {
    std::vector<Thing*> all;
    all.reserve(60'000);
    for (int i = 0; i < 60'000; ++i) all.push_back(cache.alloc());
    for (Thing* t : all) {
      ASSERT_NE(t, nullptr);
      t->state.store(8);
    }
    for (Thing* t : all) cache.free(t);
    rcu_barrier();
    EXPECT_LE(cache.stats().bytes, size_t{400} << 10);
  }
  cache.free(first);
}

template <size_t kBytes>
void expect_apart() {
  TypeStableCache<Sized<kBytes>, size_t{256} << 10> cache;
  std::set<uintptr_t> pairs;
  std::vector<Sized<kBytes>*> all;
  for (int i = 0; i < 2'000; ++i) {
    all.push_back(cache.alloc());
    const auto first = reinterpret_cast<uintptr_t>(all.back());
    for (uintptr_t pair = first / kPair; pair <= (first + kBytes - 1) / kPair; ++pair) {
      EXPECT_TRUE(pairs.insert(pair).second) << kBytes << " bytes, object " << i;
    }
    if (kBytes <= 64) {
      EXPECT_EQ(first / 64, (first + kBytes - 1) / 64);
    }
  }
  for (Sized<kBytes>* object : all) cache.free(object);
}

// A thread that writes to one would make those wait who look at the others.
TEST_F(TypeStableCacheTest, the_first_objects_share_no_pair_of_lines_where_so_asked) {
  expect_apart<8>();
  expect_apart<48>();
  expect_apart<64>();
  expect_apart<72>();
  expect_apart<104>();
  expect_apart<128>();
}

// An object in each even line and in no odd one would fill half of the cache's sets.
TEST_F(TypeStableCacheTest, objects_that_lie_apart_take_turns_between_even_and_odd_lines) {
  TypeStableCache<Sized<48>, size_t{256} << 10> cache;
  std::vector<Sized<48>*> all;
  int odd = 0;
  for (int i = 0; i < 1'000; ++i) {
    all.push_back(cache.alloc());
    odd += static_cast<int>(reinterpret_cast<uintptr_t>(all.back()) / 64 % 2);
  }
  EXPECT_GT(odd, 400);
  EXPECT_LT(odd, 600);
  for (Sized<48>* object : all) cache.free(object);
}

TEST_F(TypeStableCacheTest, objects_beyond_the_first_are_packed) {
  constexpr size_t kMany = 60'000;
  TypeStableCache<Sized<48>, size_t{256} << 10> cache;
  std::vector<Sized<48>*> all;
  all.reserve(kMany);
  for (size_t i = 0; i < kMany; ++i) all.push_back(cache.alloc());
  // 80 bytes for each of the first 2,044, slabs' heads, and a slab that is not full.
  EXPECT_LE(cache.stats().bytes, kMany * 48 + size_t{2'044} * 80 + (size_t{80} << 10));
  EXPECT_EQ(std::set<Sized<48>*>(all.begin(), all.end()).size(), kMany);
  int neighbours = 0;
  for (size_t i = kMany - 1'000; i < kMany; ++i) {
    const auto* const before = reinterpret_cast<const char*>(all[i - 1]);
    neighbours += static_cast<int>(reinterpret_cast<const char*>(all[i]) - before == 48);
  }
  EXPECT_GE(neighbours, 998);  // A slab may end in between.
  for (Sized<48>* object : all) cache.free(object);
}

TEST_F(TypeStableCacheTest, what_lay_apart_ends_once_and_is_had_again) {
  {
    TypeStableCache<Sized<48>, size_t{256} << 10> cache;
    for (int round = 0; round < 3; ++round) {
      std::vector<Sized<48>*> all;
      all.reserve(20'000);
      for (int i = 0; i < 20'000; ++i) {
        all.push_back(cache.alloc());
        all.back()->bytes.fill(static_cast<char>(i));
      }
      for (int i = 0; i < 20'000; ++i) EXPECT_EQ(all[i]->bytes.back(), static_cast<char>(i)) << i;
      for (Sized<48>* object : all) cache.free(object);
      rcu_barrier();
    }
  }
  EXPECT_GE(made.load(), 20'000);
  EXPECT_EQ(destroyed.load(), made.load());
}

TEST_F(TypeStableCacheTest, the_link_may_be_a_member_function) {
  TypeStableCache<Linked> cache;
  Linked* a = cache.alloc();
  Linked* b = cache.alloc();
  cache.free(a);
  cache.free(b);
  EXPECT_EQ(cache.alloc(), b);
  EXPECT_EQ(cache.alloc(), a);
  cache.free(a);
  cache.free(b);
}

TEST_F(TypeStableCacheTest, allocation_fails_where_the_hook_says_so) {
  int calls_left = 1;
  TypeStableCache<Thing> cache(
      {[](void* left) { return (*static_cast<int*>(left))-- <= 0; }, &calls_left});
  Thing* a = cache.alloc();
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(cache.alloc(), nullptr);
  cache.set_allocation_hook({});
  Thing* b = cache.alloc();
  EXPECT_NE(b, nullptr);
  cache.free(a);
  cache.free(b);
}

TEST_F(TypeStableCacheTest, slabs_go_back_only_when_no_reader_can_look_at_them) {
  TypeStableCache<Thing> cache;
  std::vector<Thing*> all;
  all.reserve(20'000);
  for (int i = 0; i < 20'000; ++i) all.push_back(cache.alloc());
  const size_t slabs = cache.stats().slabs;
  ASSERT_GT(slabs, 8U);
  for (Thing* t : all) t->state.store(1);

  std::atomic<int> stage{0};
  uint64_t sum = 0;
  std::thread reader([&] {
    const RcuReader section;
    stage.store(1);
    stage.notify_all();
    stage.wait(1);
    for (Thing* t : all) sum += t->state.load();  // all of them are free by now
  });
  stage.wait(0);
  for (Thing* t : all) cache.free(t);
  EXPECT_LE(cache.stats().bytes, size_t{256} << 10);  // the rest is on its way back
  EXPECT_EQ(destroyed.load(), 0);                     // but cannot go while the reader is inside
  stage.store(2);
  stage.notify_all();
  reader.join();
  EXPECT_EQ(sum, 20'000U);
  rcu_barrier();
  EXPECT_GT(destroyed.load(), 10'000);
}

TEST_F(TypeStableCacheTest, held_slabs_begin_their_way_back_when_they_are_let_go) {
  TypeStableCache<Thing> cache;
  std::vector<Thing*> all;
  all.reserve(20'000);
  for (int i = 0; i < 20'000; ++i) all.push_back(cache.alloc());
  cache.hold_slabs();
  for (Thing* t : all) cache.free(t);
  rcu_barrier();
  EXPECT_EQ(destroyed.load(), 0);
  cache.let_slabs_go();
  rcu_barrier();
  EXPECT_GT(destroyed.load(), 10'000);
}

// The reader's pointer is stale; the object is freed and reused under it, by another thread.
TEST_F(TypeStableCacheTest, a_stale_reader_meets_some_object_whatever_happens_to_it) {
  TypeStableCache<Thing> cache;
  std::atomic<Thing*> shared{cache.alloc()};
  std::atomic<bool> done{false};
  std::thread reader([&] {
    while (!done.load()) {
      const RcuReader section;
      Thing* t = shared.load();
      for (int i = 0; i < 20; ++i) EXPECT_LT(t->state.load(), 100'000U);
    }
  });
  for (uint64_t n = 0; n < 20'000; ++n) {
    Thing* fresh = cache.alloc();
    ASSERT_NE(fresh, nullptr);
    fresh->bounds = ~uint64_t{0};  // nobody reads the bounds of what is not his
    fresh->state.store(n);
    cache.free(shared.exchange(fresh));
  }
  done.store(true);
  reader.join();
  cache.free(shared.load());
}

TEST_F(TypeStableCacheTest, threads_share_a_cache) {
  TypeStableCache<Thing> cache;
  std::vector<std::thread> threads;
  for (uint64_t id = 1; id <= 3; ++id) {
    threads.emplace_back([&, id] {
      std::vector<Thing*> mine;
      for (int round = 0; round < 20'000; ++round) {
        if (round % 7 < 4 || mine.empty()) {
          Thing* t = cache.alloc();
          ASSERT_NE(t, nullptr);
          t->bounds = id;
          mine.push_back(t);
        } else {
          ASSERT_EQ(mine.back()->bounds, id);
          cache.free(mine.back());
          mine.pop_back();
        }
      }
      for (Thing* t : mine) cache.free(t);
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(cache.stats().live, 0U);
}

}  // namespace
}  // namespace pervma

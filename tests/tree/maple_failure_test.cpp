// Allocation failure at every site of a maple tree, and reservations that must suffice.
#include <gtest/gtest.h>

#include <random>

#include "tests/tree/range_model.h"
#include "tree/maple_tree.h"

namespace pervma {
namespace {

using testing::difference;
using testing::entry_of;
using testing::RangeModel;

// Fails the allocation with this number, counted from 0, and all later ones.
struct FailFrom {
  uint64_t from = ~uint64_t{0};
  uint64_t calls = 0;

  AllocationHook hook() {
    return {[](void* self) {
              auto& f = *static_cast<FailFrom*>(self);
              return f.calls++ >= f.from;
            },
            this};
  }
};

struct MapleFailure : ::testing::Test {
  FailFrom failing;
  NodePool pool{failing.hook()};
  MapleTree tree{pool};
  RangeModel model;

  void fill(uint64_t n) {
    for (uint64_t i = 0; i < n; ++i) {
      ASSERT_TRUE(tree.store(10 * i, 10 * i + 4, entry_of(i)));
      model.store(10 * i, 10 * i + 4, entry_of(i));
    }
  }
  void fail_from(uint64_t call) {
    failing.calls = 0;
    failing.from = call;
  }
  void expect_unchanged() {
    EXPECT_EQ(tree.check(), "");
    EXPECT_EQ(difference(tree, model), "");
  }
};

TEST_F(MapleFailure, the_first_store_fails_without_memory_and_leaves_nothing) {
  fail_from(0);
  EXPECT_FALSE(tree.store(1, 2, entry_of(1)));
  fail_from(1);  // the pool has no slab and gets none
  EXPECT_FALSE(tree.store(1, 2, entry_of(1)));
  EXPECT_TRUE(tree.empty());
  EXPECT_EQ(pool.stats().live, 0U);
}

TEST_F(MapleFailure, a_store_without_memory_changes_nothing) {
  fill(300);
  tree.release_reserve();
  fail_from(0);
  EXPECT_FALSE(tree.store(105, 106, entry_of(1)));
  EXPECT_FALSE(tree.erase(100, 2000));
  expect_unchanged();
}

TEST_F(MapleFailure, a_reservation_that_fails_halfway_returns_what_it_took) {
  fill(20);
  const size_t before = pool.stats().live;
  fail_from(1);  // the pool's free nodes go, the next slab does not come
  EXPECT_FALSE(tree.reserve(1000));
  EXPECT_EQ(pool.stats().live, before);
  expect_unchanged();
}

TEST_F(MapleFailure, a_copy_without_memory_stays_empty) {
  fill(5000);
  for (uint64_t call = 0;; ++call) {
    NodePool own(failing.hook());
    MapleTree copy(own);
    fail_from(call);
    if (tree.duplicate_into(copy)) {
      EXPECT_GE(call, 3U);
      EXPECT_EQ(difference(copy, model), "");
      break;
    }
    EXPECT_TRUE(copy.empty());
    EXPECT_EQ(copy.stats().reserved, 0U);
  }
}

TEST_F(MapleFailure, clear_works_without_memory) {
  fill(300);
  tree.release_reserve();
  fail_from(0);
  tree.clear();
  EXPECT_TRUE(tree.empty());
  fail_from(~uint64_t{0});
  ASSERT_TRUE(tree.store(3, 4, entry_of(1)));
  EXPECT_EQ(tree.check(), "");
}

// Any stores, many of them spanning, with not one node beyond the reservation.
TEST_F(MapleFailure, reserved_stores_cannot_fail) {
  std::mt19937_64 rng(3);
  for (int round = 0; round < 400; ++round) {
    const auto stores = static_cast<unsigned>(1 + rng() % 24);
    fail_from(~uint64_t{0});
    tree.release_reserve();
    ASSERT_TRUE(tree.reserve(stores));
    fail_from(0);
    for (unsigned i = 0; i < stores; ++i) {
      const uint64_t first = rng() % 20'000;
      const uint64_t last = first + (rng() % 8 == 0 ? rng() % 4000 : rng() % 12);
      void* entry = rng() % 4 == 0 ? nullptr : entry_of(rng() % 1000);
      tree.store_reserved(first, last, entry);
      model.store(first, last, entry);
    }
    ASSERT_EQ(failing.calls, 0U);
    ASSERT_EQ(tree.check(), "");
  }
  expect_unchanged();
}

// A series that makes the tree as high as it can from nothing.
TEST_F(MapleFailure, a_reservation_made_on_an_empty_tree_covers_its_growth) {
  for (const unsigned stores : {1U, 10U, 60U, 400U}) {
    MapleTree grown(pool);
    fail_from(~uint64_t{0});
    ASSERT_TRUE(grown.reserve(stores));
    fail_from(0);
    for (unsigned i = 0; i < stores; ++i) {
      grown.store_reserved(4 * (i * 37 % 400), 4 * (i * 37 % 400) + 1, entry_of(i));
    }
    EXPECT_EQ(grown.check(), "");
  }
}

}  // namespace
}  // namespace pervma

#include "tree/maple_tree.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "tests/tree/range_model.h"

namespace pervma {
namespace {

using testing::difference;
using testing::entry_of;
using testing::RangeModel;

struct MapleTreeTest : ::testing::Test {
  NodePool pool;
  MapleTree tree{pool};
  RangeModel model;

  void store(uint64_t first, uint64_t last, void* entry) {
    ASSERT_TRUE(tree.store(first, last, entry));
    model.store(first, last, entry);
  }
  // Ranges [10 i, 10 i + 4] for i below n.
  void fill(uint64_t n) {
    for (uint64_t i = 0; i < n; ++i) store(10 * i, 10 * i + 4, entry_of(i));
  }
  void expect_equal() {
    EXPECT_EQ(tree.check(), "");
    EXPECT_EQ(difference(tree, model), "");
  }
};

using MapleTreeStore = MapleTreeTest;
using MapleTreeWhole = MapleTreeTest;

TEST_F(MapleTreeStore, an_empty_tree_holds_nothing_and_no_memory) {
  EXPECT_TRUE(tree.empty());
  EXPECT_EQ(tree.load(0), nullptr);
  EXPECT_EQ(tree.load(kMapleMax), nullptr);
  EXPECT_EQ(tree.stats().bytes, 0U);
  EXPECT_EQ(tree.check(), "");
}

TEST_F(MapleTreeStore, a_range_holds_from_its_first_to_its_last_index) {
  store(100, 199, entry_of(1));
  EXPECT_EQ(tree.load(99), nullptr);
  EXPECT_EQ(tree.load(100), entry_of(1));
  EXPECT_EQ(tree.load(199), entry_of(1));
  EXPECT_EQ(tree.load(200), nullptr);
  expect_equal();
}

TEST_F(MapleTreeStore, the_lowest_and_the_highest_index_can_be_stored) {
  store(0, 0, entry_of(1));
  store(kMapleMax - 1, kMapleMax - 1, entry_of(2));
  EXPECT_EQ(tree.load(0), entry_of(1));
  EXPECT_EQ(tree.load(kMapleMax - 1), entry_of(2));
  EXPECT_EQ(tree.load(kMapleMax), nullptr);
  store(0, kMapleMax - 1, entry_of(3));
  expect_equal();
}

TEST_F(MapleTreeStore, a_store_inside_a_range_leaves_both_ends_of_it) {
  store(0, 99, entry_of(1));
  store(40, 49, entry_of(2));
  EXPECT_EQ(tree.load(39), entry_of(1));
  EXPECT_EQ(tree.load(40), entry_of(2));
  EXPECT_EQ(tree.load(50), entry_of(1));
  expect_equal();
}

TEST_F(MapleTreeStore, equal_neighbours_stay_two_ranges) {
  store(0, 9, entry_of(1));
  store(10, 19, entry_of(1));
  expect_equal();
}

TEST_F(MapleTreeStore, erasing_everything_leaves_an_empty_tree) {
  fill(500);
  store(0, kMapleMax - 1, nullptr);
  EXPECT_TRUE(tree.empty());
  EXPECT_EQ(tree.stats().nodes, 0U);
  expect_equal();
  fill(50);
  expect_equal();
}

TEST_F(MapleTreeStore, erasing_one_by_one_leaves_an_empty_tree) {
  fill(300);
  for (uint64_t i = 0; i < 300; ++i) {
    const uint64_t at = i * 7 % 300;
    store(10 * at, 10 * at + 4, nullptr);
    ASSERT_EQ(tree.check(), "") << at;
  }
  EXPECT_TRUE(tree.empty());
}

TEST_F(MapleTreeStore, ranges_that_come_in_order_fill_their_leaves) {
  for (uint64_t i = 0; i < 10'000; ++i) store(i, i, entry_of(i));
  expect_equal();
  EXPECT_LT(tree.stats().nodes, 10'000U / 11 * 10 / 8);
  NodePool other_pool;
  MapleTree downward(other_pool);
  for (uint64_t i = 10'000; i-- > 0;) ASSERT_TRUE(downward.store(i, i, entry_of(i)));
  EXPECT_EQ(difference(downward, model), "");
  EXPECT_LT(downward.stats().nodes, 10'000U / 11 * 10 / 8);
}

// What the in-place rules allow takes no node; everything else copies one.
TEST_F(MapleTreeStore, an_exact_exchange_or_one_moved_boundary_changes_no_node) {
  fill(100);
  const auto in_stock = [&] { return tree.stats().reserved; };
  ASSERT_TRUE(tree.reserve(8));
  const size_t before = in_stock();
  const auto reserved = [&](uint64_t first, uint64_t last, void* entry) {
    tree.store_reserved(first, last, entry);
    model.store(first, last, entry);
  };
  reserved(500, 504, entry_of(1000));  // the same range
  reserved(500, 507, entry_of(1000));  // grows into the empty range behind it
  reserved(506, 507, nullptr);         // and shrinks
  reserved(500, 501, nullptr);         // from below, too
  EXPECT_EQ(in_stock(), before);
  expect_equal();
  reserved(502, 503, entry_of(1001));  // a new boundary inside a range
  EXPECT_LT(in_stock(), before);
  expect_equal();
}

// Every pair of ends, so every store that ends exactly at a node's end is among them
// (CVE-2024-50200).
TEST_F(MapleTreeStore, r26_a_spanning_store_may_end_at_any_nodes_end) {
  constexpr uint64_t kRanges = 270;
  fill(kRanges);
  ASSERT_GE(tree.stats().height, 3U);
  for (uint64_t i = 0; i < kRanges; ++i) {
    for (uint64_t j = i; j < kRanges; j += 1 + (i % 3)) {
      for (const uint64_t tail : {4, 9}) {
        void* const entry = (i + j) % 2 == 0 ? nullptr : entry_of(9999);
        MapleTree copy(pool, RcuMode::off);
        ASSERT_TRUE(tree.duplicate_into(copy));
        RangeModel expected = model;
        ASSERT_TRUE(copy.store(10 * i, 10 * j + tail, entry));
        expected.store(10 * i, 10 * j + tail, entry);
        ASSERT_EQ(copy.check(), "") << i << ".." << j;
        ASSERT_EQ(difference(copy, expected), "") << i << ".." << j;
      }
    }
  }
}

TEST_F(MapleTreeWhole, a_copy_equals_its_original_and_is_independent_of_it) {
  fill(2000);
  MapleTree copy(pool);
  ASSERT_TRUE(tree.duplicate_into(copy));
  EXPECT_EQ(copy.check(), "");
  EXPECT_EQ(copy.stats().nodes, tree.stats().nodes);
  const RangeModel original = model;
  store(55, 12'345, nullptr);
  expect_equal();
  EXPECT_EQ(difference(copy, original), "");
}

TEST_F(MapleTreeWhole, a_copy_of_an_empty_tree_is_empty) {
  MapleTree copy(pool);
  ASSERT_TRUE(tree.duplicate_into(copy));
  EXPECT_TRUE(copy.empty());
}

TEST_F(MapleTreeWhole, clear_gives_all_nodes_back_after_a_grace_period) {
  fill(3000);
  tree.clear();
  EXPECT_TRUE(tree.empty());
  EXPECT_EQ(tree.check(), "");
  tree.release_reserve();
  tree.flush_retired();
  rcu_barrier();
  EXPECT_EQ(pool.stats().live, 0U);
}

TEST_F(MapleTreeWhole, without_rcu_nodes_are_free_at_once) {
  MapleTree unshared(pool, RcuMode::off);
  for (uint64_t i = 0; i < 3000; ++i) ASSERT_TRUE(unshared.store(2 * i, 2 * i, entry_of(i)));
  ASSERT_TRUE(unshared.erase(0, 6000));
  unshared.release_reserve();
  EXPECT_EQ(pool.stats().live, 0U);
}

TEST_F(MapleTreeWhole, a_long_tree_keeps_only_a_small_stock) {
  fill(2000);
  EXPECT_LE(tree.stats().reserved, 160U);
  ASSERT_TRUE(tree.reserve(40));
  EXPECT_GT(tree.stats().reserved, 400U);
  ASSERT_TRUE(tree.reserve(1));
  EXPECT_LE(tree.stats().reserved, 160U);
  tree.release_reserve();
  EXPECT_EQ(tree.stats().reserved, 0U);
}

TEST_F(MapleTreeWhole, gaps_are_found_at_the_windows_very_ends) {
  EXPECT_EQ(tree.find_gap_lowest(7, 100, 94), 7U);
  EXPECT_EQ(tree.find_gap_highest(7, 100, 94), 7U);
  EXPECT_EQ(tree.find_gap_lowest(7, 100, 95), std::nullopt);
  EXPECT_EQ(tree.find_gap_lowest(0, kMapleMax, kMapleMax), 0U);
  store(50, 59, entry_of(1));
  EXPECT_EQ(tree.find_gap_lowest(0, 100, 51), std::nullopt);
  EXPECT_EQ(tree.find_gap_lowest(0, 100, 50), 0U);
  EXPECT_EQ(tree.find_gap_lowest(1, 109, 50), 60U);
  EXPECT_EQ(tree.find_gap_highest(0, 109, 50), 60U);
  EXPECT_EQ(tree.find_gap_highest(0, 108, 50), 0U);
  EXPECT_EQ(tree.find_gap_lowest(50, 59, 1), std::nullopt);
  EXPECT_EQ(tree.find_gap_lowest(10, 5, 1), std::nullopt);
  EXPECT_EQ(tree.find_gap_lowest(0, 100, 0), std::nullopt);
  EXPECT_EQ(tree.find_gap_highest(0, kMapleMax, 1), kMapleMax - 1);
}

}  // namespace
}  // namespace pervma

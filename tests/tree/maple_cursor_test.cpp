#include "tree/maple_cursor.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "sync/rcu.h"
#include "tests/tree/range_model.h"

namespace pervma {
namespace {

using testing::entry_of;

struct MapleCursorTest : ::testing::Test {
  NodePool pool;
  MapleTree tree{pool};

  // Ranges [10 i, 10 i + 4] for i in [1, n].
  void fill(uint64_t n) {
    for (uint64_t i = 1; i <= n; ++i) ASSERT_TRUE(tree.store(10 * i, 10 * i + 4, entry_of(i)));
  }
  // A store as another thread makes it beside this one's read section.
  void store_elsewhere(uint64_t first, uint64_t last, void* entry) {
    std::thread([&] { ASSERT_TRUE(tree.store(first, last, entry)); }).join();
  }
};

using MapleCursorStep = MapleCursorTest;
using MapleCursorBesideStores = MapleCursorTest;

TEST_F(MapleCursorStep, walk_tells_the_bounds_of_full_and_empty_ranges) {
  fill(200);
  MapleTree::Cursor c(tree);
  EXPECT_EQ(c.walk(1003), entry_of(100));
  EXPECT_EQ(c.first(), 1000U);
  EXPECT_EQ(c.last(), 1004U);
  EXPECT_EQ(c.walk(1007), nullptr);
  EXPECT_EQ(c.first(), 1005U);
  EXPECT_EQ(c.last(), 1009U);
  EXPECT_EQ(c.walk(5000), nullptr);
  EXPECT_EQ(c.first(), 2005U);
  EXPECT_EQ(c.last(), kMapleMax);
}

TEST_F(MapleCursorStep, an_empty_tree_is_one_empty_range) {
  MapleTree::Cursor c(tree);
  EXPECT_EQ(c.walk(77), nullptr);
  EXPECT_EQ(c.first(), 0U);
  EXPECT_EQ(c.last(), kMapleMax);
  EXPECT_FALSE(c.next_range());
  EXPECT_FALSE(c.prev_range());
  EXPECT_EQ(c.next(), nullptr);
  EXPECT_EQ(c.prev(), nullptr);
  EXPECT_EQ(c.find(0, kMapleMax), nullptr);
}

TEST_F(MapleCursorStep, next_and_prev_visit_every_entry_in_order) {
  fill(500);
  MapleTree::Cursor c(tree);
  for (uint64_t i = 1; i <= 500; ++i) ASSERT_EQ(c.next(), entry_of(i));
  EXPECT_EQ(c.next(), nullptr);
  for (uint64_t i = 500; i >= 1; --i) ASSERT_EQ(c.prev(), entry_of(i));
  EXPECT_EQ(c.prev(), nullptr);
}

TEST_F(MapleCursorStep, range_steps_visit_empty_ranges_too) {
  fill(100);
  MapleTree::Cursor c(tree);
  std::vector<uint64_t> firsts;
  while (c.next_range()) firsts.push_back(c.first());
  ASSERT_EQ(firsts.size(), 201U);
  EXPECT_EQ(firsts[0], 0U);
  EXPECT_EQ(firsts[1], 10U);
  EXPECT_EQ(firsts[2], 15U);
  for (size_t i = 200; i-- > 0;) {
    ASSERT_TRUE(c.prev_range());
    ASSERT_EQ(c.first(), firsts[i]);
  }
  EXPECT_FALSE(c.prev_range());
}

TEST_F(MapleCursorStep, a_step_beyond_the_limit_is_refused) {
  fill(100);
  MapleTree::Cursor c(tree);
  EXPECT_EQ(c.find(500, 999), entry_of(50));
  EXPECT_EQ(c.next(509), nullptr);
  EXPECT_EQ(c.next(510), entry_of(51));
  EXPECT_EQ(c.prev(505), nullptr);
  EXPECT_EQ(c.prev(504), entry_of(50));
  EXPECT_TRUE(c.next_range(505));
  EXPECT_FALSE(c.next_range(509));
  EXPECT_TRUE(c.prev_range(504));
  EXPECT_FALSE(c.prev_range(500));
  EXPECT_EQ(c.entry(), entry_of(50));
}

TEST_F(MapleCursorStep, find_meets_an_entry_that_covers_the_start_or_comes_behind_it) {
  fill(100);
  MapleTree::Cursor c(tree);
  EXPECT_EQ(c.find(503, 503), entry_of(50));
  EXPECT_EQ(c.find(505, 509), nullptr);
  EXPECT_EQ(c.find(505, 510), entry_of(51));
  EXPECT_EQ(c.find(1005, kMapleMax), nullptr);
  EXPECT_EQ(c.find(10, 9), nullptr);
}

TEST_F(MapleCursorStep, a_paused_cursor_goes_on_after_a_store) {
  fill(100);
  MapleTree::Cursor c(tree);
  ASSERT_EQ(c.find(500, kMapleMax), entry_of(50));
  c.pause();
  ASSERT_TRUE(tree.erase(500, 519));
  EXPECT_EQ(c.next(), entry_of(52));
  c.pause();
  EXPECT_EQ(c.prev(), entry_of(49));
}

TEST_F(MapleCursorStep, a_reset_cursor_starts_at_or_below_its_index) {
  fill(100);
  MapleTree::Cursor c(tree, 502);
  EXPECT_EQ(c.next(), entry_of(50));
  c.reset(500);
  EXPECT_EQ(c.prev(), entry_of(49));
}

// StackRot in the tree: the node is replaced while a reader stands in it.
TEST_F(MapleCursorBesideStores, r1_a_replaced_node_stays_readable_until_its_reader_leaves) {
  fill(300);
  const RcuReader reader;
  MapleTree::Cursor c(tree);
  ASSERT_EQ(c.walk(1500), entry_of(150));
  store_elsewhere(1501, 1502, entry_of(999));  // copies the leaf
  store_elsewhere(1000, 2004, nullptr);        // and then drops it with its neighbours
  for (int i = 0; i < 50; ++i) store_elsewhere(100'000 + 10 * i, 100'005 + 10 * i, entry_of(7));
  std::thread([&] { tree.flush_retired(); }).join();
  EXPECT_EQ(c.entry(), entry_of(150));
  EXPECT_EQ(c.next(), entry_of(201));
  EXPECT_EQ(c.prev(), entry_of(99));
}

TEST_F(MapleCursorBesideStores, a_cursor_leaves_a_dead_leaf_for_its_replacement) {
  fill(300);
  const RcuReader reader;
  MapleTree::Cursor c(tree);
  ASSERT_EQ(c.walk(1500), entry_of(150));
  store_elsewhere(1506, 1507, entry_of(999));
  EXPECT_EQ(c.next(), entry_of(999));
  store_elsewhere(1501, 1502, entry_of(998));
  EXPECT_EQ(c.prev(), entry_of(150));
  EXPECT_EQ(c.first(), 1503U);
}

TEST_F(MapleCursorBesideStores, a_cursor_leaves_a_dead_inner_node_for_its_replacement) {
  fill(300);
  const RcuReader reader;
  for (uint64_t at = 100; at < 2900; at += 20) {
    MapleTree::Cursor c(tree);
    ASSERT_NE(c.walk(at), nullptr);
    // Splits or merges a leaf further on: its ancestors are replaced, the cursor's leaf is not.
    store_elsewhere(at + 16, at + 17, entry_of(5000 + at));
    ASSERT_EQ(c.next(), entry_of(at / 10 + 1)) << at;
    ASSERT_EQ(c.next(), entry_of(5000 + at)) << at;
  }
}

TEST_F(MapleCursorBesideStores, a_boundary_that_moved_in_place_is_met_where_it_is_now) {
  fill(300);
  const RcuReader reader;
  MapleTree::Cursor c(tree);
  ASSERT_EQ(c.walk(1500), entry_of(150));
  store_elsewhere(1500, 1507, entry_of(150));
  EXPECT_TRUE(c.next_range());
  EXPECT_EQ(c.entry(), entry_of(150));  // it grew over the index behind it
  EXPECT_EQ(c.last(), 1507U);
  EXPECT_EQ(c.next(), entry_of(151));
}

}  // namespace
}  // namespace pervma

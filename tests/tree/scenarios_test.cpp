// The bug scenarios of docs/testing.md that are about the tree alone. (R1 besides in
// maple_cursor_test.cpp.)
#include <gtest/gtest.h>

#include <random>

#include "tests/tree/range_model.h"

namespace pervma {
namespace {

using testing::difference;
using testing::entry_of;
using testing::RangeModel;

// A spanning store that ends where a node ends picks the wrong sibling: the tree equals the model
// after stores that end at the end of some range, of a leaf's last one among them.
TEST(R26, a_spanning_store_that_ends_at_a_nodes_end_equals_the_model) {
  NodePool pool;
  MapleTree tree(pool);
  RangeModel model;
  const auto store = [&](uint64_t first, uint64_t last, void* entry) {
    ASSERT_TRUE(tree.store(first, last, entry));
    model.store(first, last, entry);
  };
  std::mt19937_64 random(50200);
  for (int round = 0; round < 40; ++round) {
    for (uint64_t i = 0; i < 400; ++i) store(10 * i, 10 * i + 9, entry_of(i + 1));
    for (uint64_t i = 0; i < 60; ++i) {
      // From inside a range to the end of a later one: up to several leaves, full or emptied.
      const uint64_t first = random() % 3990;
      const auto end = model.find(std::min<uint64_t>(first + random() % 700, 3999));
      if (end == model.map().end()) continue;
      store(first, end->second.last, random() % 3 == 0 ? nullptr : entry_of(1000 + i));
      ASSERT_EQ(tree.check(), "") << round << ", " << i;
      ASSERT_EQ(difference(tree, model), "") << round << ", " << i;
    }
  }
}

// A node is replaced and freed while a reader's cursor stands in it: the cursor goes on in the
// replacement, where the next entry is another, with other bounds.
TEST(R1, a_cursor_leaves_a_node_that_was_replaced_under_it) {
  NodePool pool;
  MapleTree tree(pool);
  for (uint64_t i = 0; i < 300; ++i) ASSERT_TRUE(tree.store(10 * i, 10 * i + 4, entry_of(i)));
  const RcuReader reader;
  MapleTree::Cursor cursor(tree);
  ASSERT_EQ(cursor.walk(0), entry_of(0));
  for (uint64_t i = 1; i < 300; ++i) {
    // Two boundaries move: the node is copied, the old one keeps what it had.
    ASSERT_TRUE(tree.store(10 * i - 2, 10 * i + 6, entry_of(1000 + i)));
    ASSERT_EQ(cursor.next(), entry_of(1000 + i));
    ASSERT_EQ(cursor.first(), 10 * i - 2);
    ASSERT_EQ(cursor.last(), 10 * i + 6);
  }
}

}  // namespace
}  // namespace pervma

#include "tree/node_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>
#include <utility>

#include "sync/rcu.h"
#include "tests/tree/range_model.h"
#include "tree/maple_tree.h"

namespace pervma {
namespace {

using testing::entry_of;

template <class Chain>
void expect_aligned_and_distinct(Chain& chain) {
  std::set<void*> seen;
  Chain back;
  while (chain.size() > 0) {
    void* node = chain.pop();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(node) % kNodeAlign, 0U);
    EXPECT_TRUE(seen.insert(node).second);
    back.push(node);
  }
  std::swap(chain, back);
}

TEST(NodePool, nodes_are_aligned_and_distinct) {
  NodePool pool;
  NodeStock stock;
  ASSERT_TRUE(pool.take({1000, 700}, stock));
  EXPECT_EQ(stock.size().leaves, 1000U);
  EXPECT_EQ(stock.size().inners, 700U);
  EXPECT_EQ(pool.stats().live, 1700U);
  expect_aligned_and_distinct(stock.leaves);
  expect_aligned_and_distinct(stock.inners);
  pool.give(stock, {10, 20});
  EXPECT_EQ(pool.stats().live, 30U);
  pool.give(stock);
  EXPECT_EQ(pool.stats().live, 0U);
}

TEST(NodePool, takes_all_or_none) {
  int left = 3;
  NodePool pool({[](void* n) { return (*static_cast<int*>(n))-- <= 0; }, &left});
  NodeStock stock;
  ASSERT_TRUE(pool.take({5, 5}, stock));  // asked for, and a slab of each kind
  EXPECT_FALSE(pool.take({1, 1}, stock));
  left = 2;
  EXPECT_FALSE(pool.take({20, 1000}, stock));  // leaves there are, but no slab for inner nodes
  EXPECT_EQ(stock.size().leaves, 5U);
  EXPECT_EQ(stock.size().inners, 5U);
  EXPECT_EQ(pool.stats().live, 10U);
  pool.give(stock);
}

TEST(NodePool, memory_goes_back_to_the_system_when_idle) {
  NodePool pool;
  NodeStock stock;
  ASSERT_TRUE(pool.take({100'000, 10'000}, stock));
  const size_t bytes = stock.size().bytes();
  EXPECT_GE(pool.stats().bytes, bytes);
  EXPECT_LT(pool.stats().bytes, bytes * 12 / 10);
  pool.give(stock);
  EXPECT_LE(pool.stats().bytes, (size_t{4} << 20) + (size_t{512} << 10));
}

TEST(NodePool, a_pool_waits_for_the_batches_of_trees_that_are_gone) {
  NodePool pool;
  {
    MapleTree tree(pool);
    for (uint64_t i = 0; i < 5000; ++i) ASSERT_TRUE(tree.store(3 * i, 3 * i, entry_of(i)));
    ASSERT_TRUE(tree.erase(100, 9000));
  }
  // Its destructor asserts that every node has come back.
}

TEST(NodePool, replaced_nodes_come_back_while_a_tree_is_written) {
  NodePool pool;
  MapleTree tree(pool);
  for (unsigned n = 0; n < 20'000; ++n) {
    ASSERT_TRUE(tree.store(n % 100 * 10, n % 100 * 10 + n % 7, entry_of(n)));
    if (n % 1000 == 999) rcu_barrier();
  }
  tree.flush_retired();
  rcu_barrier();
  EXPECT_EQ(pool.stats().live, tree.stats().nodes + tree.stats().reserved);
}

// Stores that each replace a leaf, and the owner who asks after each.
struct Leftovers : ::testing::Test {
  NodePool pool;
  MapleTree tree{pool};
  uint64_t stored = 0;

  Leftovers() { tree.set_leftovers_taken(); }
  // Between others, so that a leaf is copied.
  void store_some(unsigned n) {
    for (unsigned i = 0; i < n; ++i, ++stored) {
      const uint64_t at = stored * 0x9e3779b97f4a7c15 >> 8;
      ASSERT_TRUE(tree.store(at, at, entry_of(stored)));
    }
  }
  // There are none for a while after a wait for readers that was long, as any may be on a busy
  // machine: they go to liburcu's thread then.
  MapleTree::Leftovers next_leftovers() {
    for (;;) {
      store_some(600);
      MapleTree::Leftovers leftovers = tree.take_leftovers();
      if (!leftovers.is_empty()) return leftovers;
    }
  }
  size_t beside_the_tree() const {
    const MapleStats s = tree.stats();
    return pool.stats().live - s.nodes - s.reserved;
  }
};

TEST_F(Leftovers, what_waits_stays_small_beside_what_the_tree_has) {
  for (unsigned round = 0; round < 200; ++round) {
    store_some(100);
    const MapleTree::Leftovers leftovers = tree.take_leftovers();
  }
  rcu_barrier();  // Some may have gone to liburcu's thread, when a wait was long.
  EXPECT_LE(beside_the_tree(), 1000U);
  // A tree that does not grow asks less often.
  for (unsigned round = 0; round < 200; ++round) {
    for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(tree.store(2 * i, 2 * i, entry_of(i + 1)));
    ASSERT_TRUE(tree.erase(0, 200));
    const MapleTree::Leftovers leftovers = tree.take_leftovers();
  }
  rcu_barrier();
  EXPECT_LE(beside_the_tree(), 5000U);
}

TEST_F(Leftovers, nobody_has_to_take_any_where_no_owner_promised_to) {
  MapleTree other(pool);
  for (uint64_t i = 0; i < 20'000; ++i) ASSERT_TRUE(other.store(3 * i, 3 * i + 1, entry_of(i)));
  rcu_barrier();
  const MapleStats s = other.stats();
  EXPECT_LE(pool.stats().live, s.nodes + s.reserved + 500);
}

TEST_F(Leftovers, their_end_waits_for_a_reader_and_frees_them) {
  std::atomic<int> stage{0};
  std::atomic<bool> ended{false};
  std::thread reader([&] {
    const RcuReader section;
    stage.store(1);
    stage.notify_all();
    stage.wait(1);
    // Long enough for a wait that is none.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(ended.load());
  });
  stage.wait(0);
  {
    const MapleTree::Leftovers leftovers = next_leftovers();
    stage.store(2);
    stage.notify_all();
  }
  ended.store(true);
  reader.join();
  rcu_barrier();
  EXPECT_EQ(beside_the_tree(), 0U);
  // That wait was long.
  store_some(600);
  EXPECT_TRUE(tree.take_leftovers().is_empty());
  EXPECT_FALSE(next_leftovers().is_empty());
}

// It would wait for itself.
TEST_F(Leftovers, inside_a_read_section_they_go_to_the_other_thread) {
  {
    const RcuReader section;
    for (unsigned round = 0; round < 20; ++round) {
      store_some(100);
      EXPECT_TRUE(tree.take_leftovers().is_empty());
    }
  }
  rcu_barrier();
  EXPECT_LE(beside_the_tree(), 600U);
}

}  // namespace
}  // namespace pervma

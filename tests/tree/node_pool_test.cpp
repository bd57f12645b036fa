#include "tree/node_pool.h"

#include <gtest/gtest.h>

#include <set>

#include "sync/rcu.h"
#include "tests/tree/range_model.h"
#include "tree/maple_tree.h"

namespace pervma {
namespace {

using testing::entry_of;

TEST(NodePool, nodes_are_aligned_to_their_size_and_distinct) {
  NodePool pool;
  NodeChain chain;
  ASSERT_TRUE(pool.take(1000, chain));
  NodeChain back;
  std::set<void*> seen;
  while (chain.size() > 0) {
    void* node = chain.pop();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(node) % kMapleNodeBytes, 0U);
    EXPECT_TRUE(seen.insert(node).second);
    back.push(node);
  }
  pool.give(back);
  EXPECT_EQ(pool.stats().live, 0U);
}

TEST(NodePool, memory_goes_back_to_the_system_when_idle) {
  NodePool pool;
  NodeChain chain;
  ASSERT_TRUE(pool.take(100'000, chain));
  EXPECT_GE(pool.stats().bytes, 100'000 * kMapleNodeBytes);
  EXPECT_LT(pool.stats().bytes, 100'000 * kMapleNodeBytes * 12 / 10);
  pool.give(chain);
  EXPECT_LE(pool.stats().bytes, size_t{4} << 20);
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

}  // namespace
}  // namespace pervma

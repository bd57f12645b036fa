// Every interleaving of a store with a whole lookup, and of a lookup with a whole store: the tree
// runs on atomics that call out between their steps.
#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>

#include "sync/rcu.h"
#include "tests/tree/range_model.h"
#include "tree/maple_tree.h"
#include "tree/maple_tree_impl.h"

namespace pervma {
namespace {

using testing::entry_of;
using testing::RangeModel;

// What runs after every store, or before every load, of the tree's atomics; never within itself.
struct Steps {
  std::function<void()> after_store;
  std::function<void()> before_load;
  bool inside = false;

  void call(const std::function<void()>& step) {
    if (!step || inside) return;
    inside = true;
    step();
    inside = false;
  }
};
// Each thread's own: liburcu's reads retired nodes.
thread_local Steps steps;

template <class T>
class SteppedAtomic {
 public:
  SteppedAtomic() noexcept = default;
  explicit SteppedAtomic(T value) noexcept : value_(value) {}

  T load(std::memory_order order) const noexcept {
    steps.call(steps.before_load);
    return value_.load(order);
  }
  void store(T value, std::memory_order order) noexcept {
    value_.store(value, order);
    steps.call(steps.after_store);
  }

 private:
  std::atomic<T> value_{};
};

struct SteppedPlatform : NativePlatform {
  template <class T>
  using Atomic = SteppedAtomic<T>;
};
using SteppedTree = BasicMapleTree<SteppedPlatform>;

struct Op {
  uint64_t first;
  uint64_t last;
  void* entry;
};

constexpr uint64_t kUniverse = 220;

class MapleSteps : public ::testing::Test {
 protected:
  // Single indices and short ranges, often with a bound that exists: every way of storing is taken.
  Op random_op() {
    uint64_t first = rng_() % kUniverse;
    uint64_t last = std::min(first + rng_() % (rng_() % 16 == 0 ? 60 : 4), kUniverse - 1);
    const auto at = model_.find(first);
    if (at != model_.map().end() && rng_() % 2 == 0) {
      first = at->first;
      if (rng_() % 2 == 0) last = at->second.last - (at->second.last > first ? rng_() % 2 : 0);
    }
    last = std::max(first, last);
    return {first, last, rng_() % 4 == 0 ? nullptr : entry_of(next_++)};
  }

  void apply(const Op& op) {
    ASSERT_TRUE(tree_.store(op.first, op.last, op.entry));
    model_.store(op.first, op.last, op.entry);
  }
  void fill() {
    for (int i = 0; i < 400; ++i) apply(random_op());
  }
  void TearDown() override { steps = {}; }

  // The entry before or after the operation; nothing else may be met.
  bool is_old_or_new(uint64_t index, const void* met, const Op& op) const {
    if (met == model_.load(index)) return true;
    return index >= op.first && index <= op.last && met == op.entry;
  }

  NodePool pool_;
  SteppedTree tree_{pool_};
  RangeModel model_;
  std::mt19937_64 rng_{11};
  uint64_t next_ = 0;
};

TEST_F(MapleSteps, after_each_step_of_a_store_a_lookup_meets_the_old_or_the_new_entry) {
  fill();
  for (int round = 0; round < 1500; ++round) {
    const Op op = random_op();
    uint64_t wrong = kMapleMax;
    steps.after_store = [&] {
      for (uint64_t i = 0; i < kUniverse; ++i) {
        if (!is_old_or_new(i, tree_.load(i), op)) wrong = i;
      }
    };
    ASSERT_TRUE(tree_.store(op.first, op.last, op.entry));
    steps.after_store = nullptr;
    ASSERT_EQ(wrong, kMapleMax) << "round " << round;
    model_.store(op.first, op.last, op.entry);
    ASSERT_EQ(tree_.check(), "");
  }
}

TEST_F(MapleSteps, after_each_step_of_a_store_a_journey_meets_old_and_new_entries_only) {
  fill();
  for (int round = 0; round < 600; ++round) {
    const Op op = random_op();
    std::string wrong;
    steps.after_store = [&] {
      SteppedTree::Cursor cursor(tree_);
      uint64_t at = 0;
      while (cursor.next_range(kUniverse - 1)) {
        if (cursor.first() != at) wrong = "a step that is not to the next index";
        at = cursor.last() + 1;
        for (uint64_t i = cursor.first(); i <= std::min(cursor.last(), kUniverse - 1); ++i) {
          if (!is_old_or_new(i, cursor.entry(), op)) wrong = "index " + std::to_string(i);
        }
        if (at == 0) break;
      }
    };
    ASSERT_TRUE(tree_.store(op.first, op.last, op.entry));
    steps.after_store = nullptr;
    ASSERT_EQ(wrong, "") << "round " << round;
    model_.store(op.first, op.last, op.entry);
  }
}

// The store as a whole happens between two loads of the lookup.
TEST_F(MapleSteps, a_store_between_any_two_steps_of_a_lookup_shows_old_or_new) {
  fill();
  for (int round = 0; round < 20'000; ++round) {
    const Op op = random_op();
    // Near what is stored, where the answer is in danger.
    const uint64_t index = std::min(kUniverse - 1, op.first + rng_() % (op.last - op.first + 4));
    unsigned step = static_cast<unsigned>(rng_() % 40);
    const RcuReader reader;
    steps.before_load = [&] {
      if (step-- == 0) {
        ASSERT_TRUE(tree_.store(op.first, op.last, op.entry));
      }
    };
    const void* met = tree_.load(index);
    steps.before_load = nullptr;
    ASSERT_TRUE(is_old_or_new(index, met, op)) << "round " << round << " index " << index;
    ASSERT_TRUE(tree_.store(op.first, op.last, op.entry));
    model_.store(op.first, op.last, op.entry);
  }
}

// Else a cursor that leaves a dead node finds it again.
TEST_F(MapleSteps, no_node_is_dead_while_a_walk_can_reach_it) {
  fill();
  for (int round = 0; round < 1000; ++round) {
    const Op op = random_op();
    bool met_dead = false;
    steps.after_store = [&] {
      met_dead = met_dead || tree_.check().find("a dead node") != std::string::npos;
    };
    ASSERT_TRUE(tree_.store(op.first, op.last, op.entry));
    steps.after_store = nullptr;
    ASSERT_FALSE(met_dead) << "round " << round;
    model_.store(op.first, op.last, op.entry);
  }
}

// A cursor stands still while stores happen, then steps: it meets what is there at that time.
TEST_F(MapleSteps, a_step_after_any_stores_meets_what_is_there_now) {
  fill();
  for (int round = 0; round < 4000; ++round) {
    const RcuReader reader;
    SteppedTree::Cursor cursor(tree_);
    cursor.walk(rng_() % kUniverse);
    for (uint64_t n = rng_() % 4; n > 0; --n) apply(random_op());
    const bool forward = rng_() % 2 == 0;
    const uint64_t from = forward ? cursor.last() : cursor.first();
    if (!(forward ? cursor.next_range() : cursor.prev_range())) continue;
    const uint64_t index = forward ? from + 1 : from - 1;
    ASSERT_LE(cursor.first(), index);
    ASSERT_GE(cursor.last(), index);
    ASSERT_EQ(cursor.entry(), model_.load(index));
  }
}

}  // namespace
}  // namespace pervma

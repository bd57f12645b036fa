// The search by vectors answers as the loop does, for every number of pivots and at every edge.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "sync/native_platform.h"
#include "tree/maple_node.h"

namespace pervma {
namespace {

constexpr uint64_t kTop = uint64_t{1} << 63;

// Rising pivots, with some at the places where signed and unsigned comparison differ.
std::vector<uint64_t> pivots(std::mt19937_64& random, unsigned count) {
  constexpr uint64_t kEdges[] = {0, 1, kTop - 1, kTop, kTop + 1, kMapleMax - 1};
  std::vector<uint64_t> all;
  while (all.size() < count) {
    const uint64_t p = random() % 3 == 0 ? kEdges[random() % 6] : random() >> (random() % 60);
    if (p != kMapleMax && std::find(all.begin(), all.end(), p) == all.end()) all.push_back(p);
  }
  std::sort(all.begin(), all.end());
  return all;
}

template <class Node, class SlotOf>
void expect_slots(const Node& node, const std::vector<uint64_t>& in_use, SlotOf slot_of) {
  const auto expect = [&](uint64_t index) {
    const auto slot = static_cast<unsigned>(std::lower_bound(in_use.begin(), in_use.end(), index) -
                                            in_use.begin());
    ASSERT_EQ(slot_of(node, index), slot) << index;
  };
  for (const uint64_t p : in_use) {
    expect(p);
    expect(p + 1);
    if (p != 0) expect(p - 1);
  }
  for (const uint64_t index : {uint64_t{0}, kTop - 1, kTop, kMapleMax - 1, kMapleMax}) {
    expect(index);
  }
}

using Leaf = MapleLeaf<NativePlatform>;
using Inner = MapleInner<NativePlatform>;

// Slots next to the pivots are full of what would count if it were looked at.
void fill_slots(Leaf& leaf, uint64_t word) {
  leaf.head.count = kLeafSlots;
  for (auto& slot : leaf.slots) slot.store(word, std::memory_order_relaxed);
}
void fill_slots(Inner& inner, uint64_t word) {
  inner.head.count = kInnerSlots;
  for (auto& slot : inner.slots) slot.store(word, std::memory_order_relaxed);
}

void try_all() {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    for (unsigned count = 0; count < kLeafSlots; ++count) {
      const std::vector<uint64_t> in_use = pivots(random, count);
      Leaf leaf;
      fill_slots(leaf, random() % 2);
      for (unsigned i = 0; i < kLeafSlots - 1; ++i) {
        leaf.pivots[i].store(i < count ? in_use[i] : kMapleMax, std::memory_order_relaxed);
      }
      expect_slots(leaf, in_use, [](const Leaf& n, uint64_t i) { return n.slot_of(i); });
    }
    for (unsigned count = 0; count < kInnerSlots; ++count) {
      const std::vector<uint64_t> in_use = pivots(random, count);
      Inner inner;
      fill_slots(inner, random() % 2);
      for (unsigned i = 0; i < kInnerSlots - 1; ++i) {
        inner.pivots[i] = i < count ? in_use[i] : kMapleMax;
      }
      expect_slots(inner, in_use, [](const Inner& n, uint64_t i) { return n.slot_of(i); });
    }
  }
}

TEST(NodeSearch, finds_the_slot_with_what_the_processor_has) { try_all(); }

#if defined(PERVMA_VECTOR_SEARCH)
void try_all_by(detail::VectorSearch way) {
  const detail::VectorSearch best = std::exchange(detail::vector_search, way);
  try_all();
  detail::vector_search = best;
}

TEST(NodeSearch, finds_the_slot_by_the_loop) { try_all_by(detail::VectorSearch::none); }

TEST(NodeSearch, finds_the_slot_by_shorter_vectors_than_the_processor_has) {
  // What has AVX-512 has AVX2.
  if (detail::vector_search != detail::VectorSearch::avx512) GTEST_SKIP() << "no longer ones";
  try_all_by(detail::VectorSearch::avx2);
}
#endif

}  // namespace
}  // namespace pervma

// The tree's stores beside two readers: a boundary moves in the old leaf, then a copy replaces it.
//
// mutants: maple_child maple_publish maple_entry maple_exchange maple_pivot maple_boundary
// mutants: maple_is_dead maple_mark_dead maple_slot_before_pivot maple_publish_before_dead
// They remove, one at a time, the acquires and releases of nodes, entries, pivots and dead marks,
// and swap the two stores of a moving boundary, and publication and dead mark.
#include "tree/maple_protocol.h"

#include "platform.h"

using namespace pervma;
using Protocol = MapleProtocol<LitmusPlatform>;

// Entries stand for these ranges; made by the writer.
static int first_of[5] = {0, 0, 10, 0, 0};
static int last_of[5] = {0, 9, 19, 0, 0};

struct Leaf {
  Protocol::Word pivots[1];
  Protocol::Word slots[2];
  Protocol::Mark dead;
};
static Leaf leaves[2];
static Protocol::Word root;

static void check(const Leaf& leaf, int index) {
  const uint64_t entry = Protocol::entry(
      leaf.slots[Protocol::leaf_slot<1>(leaf.pivots, static_cast<uint64_t>(index))]);
  assert(entry >= 1 && entry <= 4);
  assert(first_of[entry] <= index && index <= last_of[entry]);
}

// Its entry is exchanged before the boundary moves; and one over which the boundary moves.
static constexpr auto lookup = [] {
  check(leaves[Protocol::child(root)], 5);
  check(leaves[Protocol::child(root)], 12);
};

static constexpr auto step = [] {
  const uint64_t at = Protocol::child(root);
  if (!Protocol::is_dead(leaves[at].dead)) return;
  const uint64_t again = Protocol::child(root);
  assert(again != at);
  check(leaves[again], 5);
};

static constexpr auto store = [] {
  first_of[3] = 0;
  last_of[3] = 14;
  Protocol::move_boundary(leaves[0].slots[0], 3, leaves[0].pivots[0], 14);
  first_of[4] = 0;
  last_of[4] = 12;
  leaves[1].pivots[0].store(12, std::memory_order_relaxed);
  leaves[1].slots[0].store(4, std::memory_order_relaxed);
  leaves[1].slots[1].store(2, std::memory_order_relaxed);
  Protocol::replace(root, 1, [] { Protocol::mark_dead(leaves[0].dead); });
};

int main() {
  leaves[0].pivots[0].store(9, std::memory_order_relaxed);
  leaves[0].slots[0].store(1, std::memory_order_relaxed);
  leaves[0].slots[1].store(2, std::memory_order_relaxed);
  litmus::run(lookup, step, store);
  return 0;
}

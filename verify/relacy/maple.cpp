// The maple tree's ordered accesses, by the tree's own functions (tree/maple_protocol.h): stores in
// place, publication, dead marks, and the reuse of a node after a grace period. Nodes are small
// here; the tree's leaves have fifteen pivots, which are loaded in the same way.
#include "tree/maple_protocol.h"

#include "harness.h"

namespace pervma::verify {
namespace {

using P = RelacyPlatform;
using Protocol = MapleProtocol<P>;

// What entries stand for, by number. Made by the writer before it is stored.
struct Object {
  RelacyPlain<uint64_t> first{0};
  RelacyPlain<uint64_t> last{0};

  void make(uint64_t from, uint64_t to) {
    first = from;
    last = to;
  }
  bool covers(uint64_t index) const { return first <= index && index <= last; }
};

struct Leaf {
  static constexpr unsigned kPivots = 1;
  Protocol::Word pivots[kPivots];
  Protocol::Word slots[kPivots + 1];
  Protocol::Mark dead;

  // A leaf of two ranges, before anyone can reach it.
  void fill(uint64_t pivot, uint64_t low, uint64_t high) {
    pivots[0].store(pivot, std::memory_order_relaxed);
    slots[0].store(low, std::memory_order_relaxed);
    slots[1].store(high, std::memory_order_relaxed);
  }
  uint64_t load(uint64_t index) const {
    return Protocol::entry(slots[Protocol::leaf_slot<kPivots>(pivots, index)]);
  }
};

// [0, 9] is object 1, [10, 19] object 2; the store makes object 3.
template <class Self>
struct TreeScenario : Scenario<Self, 2> {
  Object objects[4];
  Leaf leaves[2];
  Protocol::Word root;  // a leaf's number

  void before() {
    objects[1].make(0, 9);
    objects[2].make(10, 19);
    leaves[0].fill(9, 1, 2);
    root.store(0, std::memory_order_relaxed);
  }
  void expect(uint64_t index, uint64_t entry) {
    RL_ASSERT(entry >= 1 && entry <= 3);
    RL_ASSERT(objects[entry].covers(index));
  }
  void lookup(uint64_t index) {
    const P::RcuRead rcu;
    const Leaf& leaf = leaves[Protocol::child(root)];
    expect(index, leaf.load(index));
  }
};

struct ExchangeEntry : TreeScenario<ExchangeEntry> {
  void thread(unsigned i) {
    if (i == 0) {
      lookup(5);
      return;
    }
    objects[3].make(0, 9);
    Protocol::exchange_entry(leaves[0].slots[0], 3);
  }
};

struct BoundaryMovesUp : TreeScenario<BoundaryMovesUp> {
  void thread(unsigned i) {
    if (i == 0) {
      lookup(12);
      return;
    }
    objects[3].make(0, 14);
    Protocol::move_boundary(leaves[0].slots[0], 3, leaves[0].pivots[0], 14);
  }
};

struct BoundaryMovesDown : TreeScenario<BoundaryMovesDown> {
  void thread(unsigned i) {
    if (i == 0) {
      lookup(7);
      return;
    }
    objects[3].make(5, 19);
    Protocol::move_boundary(leaves[0].slots[1], 3, leaves[0].pivots[0], 4);
  }
};

// A copy replaces the leaf; its memory had another life. The old leaf is written again only when
// nobody can be in it.
struct Publish : TreeScenario<Publish> {
  void before() {
    TreeScenario<Publish>::before();
    leaves[1].fill(3, 2, 1);
  }
  void thread(unsigned i) {
    if (i == 0) {
      lookup(5);
      return;
    }
    objects[3].make(0, 9);
    leaves[1].fill(9, 3, 2);
    Protocol::replace(root, 1, [this] { Protocol::mark_dead(leaves[0].dead); });
    P::synchronize_rcu();
    leaves[0].fill(3, 2, 1);
  }
};

// A cursor that finds its leaf dead walks again, and is not led to the dead leaf once more.
struct DeadMark : TreeScenario<DeadMark> {
  void thread(unsigned i) {
    if (i == 0) {
      const P::RcuRead rcu;
      const uint64_t at = Protocol::child(root);
      expect(5, leaves[at].load(5));
      if (!Protocol::is_dead(leaves[at].dead)) return;
      const uint64_t again = Protocol::child(root);
      RL_ASSERT(again != at);
      expect(12, leaves[again].load(12));
      return;
    }
    objects[3].make(0, 9);
    leaves[1].fill(9, 3, 2);
    Protocol::replace(root, 1, [this] { Protocol::mark_dead(leaves[0].dead); });
  }
};

}  // namespace
}  // namespace pervma::verify

int main(int argc, char** argv) {
  using namespace pervma::verify;
  return Harness("maple")
      .add<ExchangeEntry>("exchange_entry", {exhaustive()})
      .add<BoundaryMovesUp>("boundary_moves_up", {exhaustive()})
      .add<BoundaryMovesDown>("boundary_moves_down", {exhaustive()})
      .add<Publish>("publish", {exhaustive()})
      .add<DeadMark>("dead_mark", {exhaustive()})
      .run(argc, argv);
}

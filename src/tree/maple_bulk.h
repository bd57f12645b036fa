// maple_bulk.h: a whole tree from ranges that come in order, each node made once.
//
// How many slots there will be is known before, and with it the nodes of every level and what each
// of them gets: all of a level the same, give or take one. One node per level is open; a full one
// is handed to the level above. Nobody sees any of it before publish(), which is one store.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <new>

#include "sync/assert.h"
#include "tree/maple_tree.h"
#include "tree/maple_writer.h"

namespace pervma {

template <class P>
class MapleBulk {
  using Leaf = MapleLeaf<P>;
  using Inner = MapleInner<P>;
  using Ref = MapleRef<P>;

 public:
  // The slots of so many ranges with so many empty runs, the one behind the last range included.
  explicit MapleBulk(uint64_t slots) noexcept {
    uint64_t nodes = slots;
    uint64_t most = kLeafFill;
    do {
      PERVMA_ASSERT_OP(height_, <, kMapleMaxHeight - 1);
      Level& level = levels_[height_++];
      level.items = nodes;
      level.nodes = nodes = (nodes + most - 1) / most;
      most = kInnerFill;
    } while (nodes > 1);
  }

  NodeCount nodes() const noexcept {
    NodeCount count{.leaves = levels_[0].nodes, .inners = 0};
    for (unsigned l = 1; l < height_; ++l) count.inners += levels_[l].nodes;
    return count;
  }

  // The next slot, which ends with `last`; an empty one is followed by one that is not, or the end.
  void append(NodeStock& stock, uint64_t last, uint64_t entry) noexcept {
    Level& level = levels_[0];
    if (level.count == 0) level.open = Ref(::new (stock.leaves.pop()) Leaf());
    Leaf& leaf = *level.open.leaf();
    PERVMA_DASSERT_OP(level.count, <, kLeafSlots);
    leaf.slots[level.count].store(entry, std::memory_order_relaxed);
    if (level.count + 1 < kLeafSlots) {
      leaf.pivots[level.count].store(last, std::memory_order_relaxed);
    }
    ++level.count;
    ++level.done;
    if (entry == 0) level.gap = std::max(level.gap, last - last_);
    last_ = last;
    // An empty range does not end a leaf, but the last.
    if (level.done < level.target() || (entry == 0 && level.done < level.items)) return;
    for (unsigned s = level.count - 1; s < kLeafSlots - 1; ++s) {
      leaf.pivots[s].store(kMapleMax, std::memory_order_relaxed);
    }
    leaf.head.count = static_cast<uint8_t>(level.count);
    hand_up(stock, 0, last);
  }

  // After the last slot.
  Ref root() const noexcept {
    PERVMA_ASSERT(!root_.is_null());
    return root_;
  }
  unsigned height() const noexcept { return height_; }

 private:
  // A slot to spare for a leaf that must not end with an empty range, and room for later stores.
  static constexpr uint64_t kLeafFill = kLeafSlots - 1;
  static constexpr uint64_t kInnerFill = kInnerSlots - 2;

  struct Level {
    uint64_t items = 0;   // that its nodes will hold
    uint64_t nodes = 0;   // that it will have
    uint64_t done = 0;    // items placed
    uint64_t closed = 0;  // nodes complete
    Ref open{uint64_t{0}};
    unsigned count = 0;  // items in the open node
    uint64_t gap = 0;    // the longest empty run in it

    // Items placed when the open node is to be closed: parts differ by one at most.
    uint64_t target() const noexcept {
      const uint64_t each = items / nodes;
      const uint64_t more = items % nodes;
      return (closed + 1) * each + std::min(closed + 1, more);
    }
  };

  void hand_up(NodeStock& stock, unsigned l, uint64_t last) noexcept {
    for (;; ++l) {
      Level& from = levels_[l];
      const Ref node = from.open;
      const uint64_t gap = from.gap;
      ++from.closed;
      from.count = 0;
      from.gap = 0;
      if (l + 1 == height_) {
        root_ = node;
        return;
      }
      Level& to = levels_[l + 1];
      if (to.count == 0) to.open = Ref(::new (stock.inners.pop()) Inner());
      Inner& inner = *to.open.inner();
      PERVMA_DASSERT_OP(to.count, <, kInnerSlots);
      inner.slots[to.count].store(node.word(), std::memory_order_relaxed);
      inner.gaps[to.count] = gap;
      if (to.count + 1 < kInnerSlots) inner.pivots[to.count] = last;
      ++to.count;
      ++to.done;
      to.gap = std::max(to.gap, gap);
      if (to.done < to.target()) return;
      for (unsigned s = to.count - 1; s < kInnerSlots - 1; ++s) inner.pivots[s] = kMapleMax;
      inner.head.count = static_cast<uint8_t>(to.count);
    }
  }

  std::array<Level, kMapleMaxHeight> levels_{};
  unsigned height_ = 0;
  uint64_t last_ = kMapleMax;  // of the slot before: the first begins at 0
  Ref root_{uint64_t{0}};
};

template <class P>
bool BasicMapleTree<P>::reserve_bulk(uint64_t slots) noexcept {
  NodeCount needed = MapleBulk<P>(slots).nodes();
  needed.leaves += MapleRetire<P>::nodes_for(1);  // The tree that was has one record.
  const NodeCount have = stock_.size();
  const auto missing = [](size_t need, size_t has) { return need > has ? need - has : 0; };
  return pool_.take({missing(needed.leaves, have.leaves), missing(needed.inners, have.inners)},
                    stock_);
}

template <class P>
void BasicMapleTree<P>::load_reserved(uint64_t slots, BulkSource& source) noexcept {
  PERVMA_ASSERT_OP(slots, >=, uint64_t{2});
  MapleBulk<P> bulk(slots);
  uint64_t free = 0;  // the first index that is in no slot yet
  uint64_t placed = 0;
  for (;;) {
    const BulkRange range = source.next();
    if (range.entry == nullptr) break;
    PERVMA_DASSERT(free <= range.first && range.first <= range.last && range.last < kMapleMax);
    if (range.first > free) {
      bulk.append(stock_, range.first - 1, 0);
      ++placed;
    }
    bulk.append(stock_, range.last, reinterpret_cast<uint64_t>(range.entry));
    ++placed;
    free = range.last + 1;
  }
  PERVMA_ASSERT_OP(placed + 1, ==, slots);
  bulk.append(stock_, kMapleMax, 0);
  const NodeCount made = bulk.nodes();
  nodes_ = {nodes_.leaves + made.leaves, nodes_.inners + made.inners};
  MapleWriter<P>(*this, 0, 0, nullptr)
      .replace_all(Ref(root_.load(std::memory_order_relaxed)), bulk.root(), bulk.height());
}

}  // namespace pervma

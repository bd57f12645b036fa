// maple_cursor.h: a place in a maple tree, and steps from it.
//
// A cursor stands on a range, with an entry or empty, or nowhere yet. It is valid within one
// unbroken RCU read section, or under the tree's lock held since its walk, and only if nothing was
// stored through this thread meanwhile: after that, and before a section ends, call pause() or
// reset(). Stores of others are noticed: a node that was replaced is left, and the walk starts at
// the root.
//
//   for (void* e = cursor.find(start, limit); e != nullptr; e = cursor.next(limit)) ...
//
// Beside a writer every step still goes forward (backward), and what is there during the whole
// journey is met. Every member is lock-free: it tries again only beside a store.
#pragma once

#include <algorithm>
#include <cstdint>

#include "sync/assert.h"
#include "tree/maple_node.h"
#include "tree/maple_tree.h"

namespace pervma {

template <class P>
class MapleCursor {
 public:
  explicit MapleCursor(const BasicMapleTree<P>& tree, uint64_t index = 0) noexcept : tree_(tree) {
    reset(index);
  }

  // Goes to the index: the entry of its range, or null where it is empty.
  void* walk(uint64_t index) noexcept;
  // Goes to the first entry that covers an index in [index, limit]. Null: there is none.
  void* find(uint64_t index, uint64_t limit) noexcept;

  // From a range to the next (previous) one that is not empty and does not lie beyond the limit.
  // Null: there is none, and the cursor stands on what it saw last. After reset(index) or pause()
  // next() goes on at the index (including it), prev() below it.
  void* next(uint64_t limit = kMapleMax) noexcept;
  void* prev(uint64_t limit = 0) noexcept;

  // To the adjacent range, empty or not. False: it lies beyond the limit, and the cursor stays.
  bool next_range(uint64_t limit = kMapleMax) noexcept;
  bool prev_range(uint64_t limit = 0) noexcept;

  // Where the cursor stands, after any of the above.
  void* entry() const noexcept { return entry_; }
  uint64_t first() const noexcept { return first_; }
  uint64_t last() const noexcept { return last_; }

  // Forgets the nodes, and goes on behind (in front of) the range it stands on.
  void pause() noexcept { depth_ = 0; }
  // As if made anew: stands nowhere, just before the index.
  void reset(uint64_t index) noexcept {
    depth_ = 0;
    entry_ = nullptr;
    standing_ = false;
    first_ = last_ = index;
  }

 private:
  using Protocol = MapleProtocol<P>;
  // A node on the way, with its own bounds and the slot that was taken.
  struct Step {
    MapleRef<P> node;
    uint64_t first;
    uint64_t last;
    unsigned slot;
  };

  void descend(MapleRef<P> node, uint64_t first, uint64_t last, uint64_t index) noexcept;
  void locate(const MapleLeaf<P>& leaf, uint64_t first, uint64_t last, uint64_t index) noexcept;
  // To the range that holds an index next to the present range, by the shortest way that is alive.
  void go(uint64_t index) noexcept;

  const BasicMapleTree<P>& tree_;
  uint64_t first_;
  uint64_t last_;
  void* entry_;
  unsigned depth_;  // nodes on the way; 0: walk from the root
  bool standing_;   // on a range: first_ and last_ are its bounds
  Step way_[kMapleMaxHeight];
};

template <class P>
void* MapleCursor<P>::walk(uint64_t index) noexcept {
  depth_ = 0;
  standing_ = true;
  const MapleRef<P> root(Protocol::child(tree_.root_));
  if (root.is_null()) {
    first_ = 0;
    last_ = kMapleMax;
    return entry_ = nullptr;
  }
  descend(root, 0, kMapleMax, index);
  return entry_;
}

template <class P>
void MapleCursor<P>::descend(MapleRef<P> node, uint64_t first, uint64_t last,
                             uint64_t index) noexcept {
  while (!node.is_leaf()) {
    const MapleInner<P>& inner = *node.inner();
    const unsigned slot = inner.slot_of(index);
    PERVMA_DASSERT_OP(depth_ + 1, <, kMapleMaxHeight);
    way_[depth_++] = {node, first, last, slot};
    // An unused pivot is kMapleMax: the last child ends where its parent does.
    if (slot + 1 < kInnerSlots) last = std::min(last, inner.pivots[slot]);
    if (slot > 0) first = inner.pivots[slot - 1] + 1;
    node = MapleRef<P>(Protocol::child(inner.slots[slot]));
  }
  way_[depth_++] = {node, first, last, 0};
  locate(*node.leaf(), first, last, index);
}

template <class P>
void MapleCursor<P>::locate(const MapleLeaf<P>& leaf, uint64_t first, uint64_t last,
                            uint64_t index) noexcept {
  for (;;) {
    const unsigned slot = leaf.slot_of(index);
    // The boundaries are read again: one that moved in between may have moved over the index.
    first_ = slot > 0 ? Protocol::pivot(leaf.pivots[slot - 1]) + 1 : first;
    last_ = slot + 1 < kLeafSlots ? std::min(last, Protocol::pivot(leaf.pivots[slot])) : last;
    if (first_ <= index && index <= last_) [[likely]] {
      entry_ = reinterpret_cast<void*>(Protocol::entry(leaf.slots[slot]));
      return;
    }
  }
}

template <class P>
void MapleCursor<P>::go(uint64_t index) noexcept {
  if (depth_ == 0) {
    walk(index);
    return;
  }
  // The leaf first, then whoever is lowest of those that cover the index: each must be alive, or
  // what stands in it is of an unknown age.
  for (unsigned level = depth_; level-- > 0;) {
    const Step step = way_[level];
    if (index < step.first || step.last < index) continue;
    if (Protocol::is_dead(step.node.head().dead)) break;
    depth_ = level;
    descend(step.node, step.first, step.last, index);
    return;
  }
  walk(index);
}

template <class P>
void* MapleCursor<P>::find(uint64_t index, uint64_t limit) noexcept {
  if (index > limit) return nullptr;
  if (void* entry = walk(index); entry != nullptr) return entry;
  return next(limit);
}

template <class P>
void* MapleCursor<P>::next(uint64_t limit) noexcept {
  do {
    if (!next_range(limit)) return nullptr;
  } while (entry_ == nullptr);
  return entry_;
}

template <class P>
void* MapleCursor<P>::prev(uint64_t limit) noexcept {
  do {
    if (!prev_range(limit)) return nullptr;
  } while (entry_ == nullptr);
  return entry_;
}

template <class P>
bool MapleCursor<P>::next_range(uint64_t limit) noexcept {
  if (!standing_) {
    if (first_ > limit) return false;
    walk(first_);
    return true;
  }
  if (last_ >= limit) return false;
  go(last_ + 1);
  return true;
}

template <class P>
bool MapleCursor<P>::prev_range(uint64_t limit) noexcept {
  if (first_ <= limit) return false;
  go(first_ - 1);
  standing_ = true;
  return true;
}

}  // namespace pervma

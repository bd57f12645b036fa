// maple_writer.h: one store into a maple tree, from the walk to the disposal of what it replaced.
//
// Three ways, the cheapest that fits:
//   in place   the range matches a slot, or one boundary moves: the leaf is changed under its
//   readers one leaf   the leaf is copied with the change, and published in its parent's slot
//   rebuild    anything else (maple_rebuild.h)
// An empty range never ends a leaf but the last one, so empty runs do not cross leaves, and the gap
// of a child is the longest of its leaves' runs.
//
// Used by the tree's one writer; nodes come from the tree's stock, which reserve() has filled.
#pragma once

#include <algorithm>
#include <cstdint>
#include <new>
#include <type_traits>

#include "sync/assert.h"
#include "tree/maple_tree.h"

namespace pervma {

template <class P>
class MapleWriter {
 public:
  MapleWriter(BasicMapleTree<P>& tree, uint64_t first, uint64_t last, void* entry) noexcept
      : tree_(tree), first_(first), last_(last), entry_(reinterpret_cast<uint64_t>(entry)) {}

  void store() noexcept;
  // False: the range is not empty.
  bool store_if_empty() noexcept;
  // Publishes another root (null: none), and disposes of all below the one that was.
  void replace_all(MapleRef<P> old, MapleRef<P> root, unsigned height) noexcept;

  // A private copy of all nodes from this one down.
  MapleRef<P> copy_below(MapleRef<P> node) noexcept;

  // The longest empty run in a leaf with these bounds, or below an inner node.
  static uint64_t leaf_gap(const MapleLeaf<P>& leaf, uint64_t first, uint64_t last) noexcept;
  static uint64_t inner_gap(const MapleInner<P>& inner) noexcept {
    return *std::max_element(inner.gaps, inner.gaps + kInnerSlots);  // 0 where not in use
  }

 private:
  using Protocol = MapleProtocol<P>;
  using Word = typename Protocol::Word;
  using Leaf = MapleLeaf<P>;
  using Inner = MapleInner<P>;
  using Ref = MapleRef<P>;

  // A node on the way to an index, its own bounds, and the slot on the way.
  struct Step {
    Ref node;
    uint64_t first;
    uint64_t last;
    unsigned slot;
  };
  // What a leaf's slots are gathered into, and what children of inner nodes are. Ends with `last`;
  // begins where the one before ended.
  struct Item {
    uint64_t word;  // entry or child
    uint64_t last;
    uint64_t gap;  // children only
  };
  // Below this two leaves share what would make one of them split: 7/8 of their slots.
  static constexpr unsigned kShareBelow = 28;
  // Two halves of nodes with what is new between them and a whole neighbour beside them.
  static constexpr unsigned kMaxItems = 3 * kInnerSlots + 4;
  static_assert(kInnerSlots >= kLeafSlots);

  struct Items {
    Item item[kMaxItems];
    unsigned count = 0;
    unsigned hot = 0;  // where the new range, or the first new child, stands

    void push(uint64_t word, uint64_t last, uint64_t gap = 0) noexcept {
      PERVMA_DASSERT_OP(count, <, kMaxItems);
      item[count++] = {word, last, gap};
    }
    void append(const Items& more) noexcept {
      for (unsigned i = 0; i < more.count; ++i) item[count++] = more.item[i];
    }
  };
  // Ranges that come in order fill their leaves if the cut leaves only the least on the growing
  // side.
  enum class Growth : uint8_t { anywhere, upward, downward };

  // The slots of a leaf that the range touches: from `i`, which begins with `a`, to `j`, which ends
  // with `b`.
  struct Touched {
    unsigned i, j;
    uint64_t a, b;
  };

  static uint64_t entry_at(const Leaf& leaf, unsigned slot) noexcept {
    return leaf.slots[slot].load(std::memory_order_relaxed);
  }
  static uint64_t pivot_at(const Leaf& leaf, unsigned slot) noexcept {
    return leaf.pivots[slot].load(std::memory_order_relaxed);
  }
  static uint64_t slot_first(const Step& at, unsigned slot) noexcept {
    return slot == 0 ? at.first : pivot_at(*at.node.leaf(), slot - 1) + 1;
  }
  static uint64_t slot_last(const Step& at, unsigned slot) noexcept {
    return slot + 1 == at.node.head().count ? at.last : pivot_at(*at.node.leaf(), slot);
  }
  static Step child_step(const Step& at, unsigned slot) noexcept;
  static void finish_leaf(Leaf& leaf, unsigned count) noexcept;

  void walk(Step* way, uint64_t index) const noexcept;

  // --- one leaf ---
  Touched touched(const Step& at) const noexcept;
  bool widen_empty(const Step& at, Touched& t) noexcept;
  bool store_in_leaf() noexcept;
  bool store_in_place(const Step& at, const Touched& t) noexcept;
  Leaf* copy_leaf(const Step& at, const Touched& t, unsigned count) noexcept;
  void note_gap(const Step& at, const Touched& t) noexcept;
  void settle_gap(const Step& at, const Leaf& leaf) noexcept;
  void update_gaps(unsigned level, uint64_t gap) noexcept;

  // --- rebuild (maple_rebuild.h) ---
  void start_tree() noexcept;
  void rebuild() noexcept;
  void gather_leaves(Items& items) noexcept;
  void even_out_leaves(Items& items) noexcept;
  void gather_children(unsigned level, Items& items) noexcept;
  void even_out_children(unsigned level, Items& items) noexcept;
  void append_leaf(const Step& at, unsigned from, unsigned to, Items& items) const noexcept;
  void append_children(const Step& at, unsigned from, unsigned to, Items& items) const noexcept;
  unsigned leaf_cut(const Items& items, unsigned from, unsigned pieces) noexcept;
  void build_leaves(Items& items, uint64_t first) noexcept;
  void build_inners(Items& items) noexcept;
  void replace_root(Items& items, unsigned height) noexcept;
  // Whether what is replaced at this level is the whole level.
  bool covers_all(unsigned level) const noexcept {
    return left_[level].first == 0 && right_[level].last == kMapleMax;
  }
  bool right_is_closer(unsigned level) const noexcept;
  static bool advance(Step* way, unsigned level) noexcept;
  static bool retreat(Step* way, unsigned level) noexcept;

  // --- nodes ---
  template <class Node>
  Node* make_node() noexcept;
  // Replaced by this store, with the children [from, to) as whole subtrees.
  void list(Ref node, unsigned from, unsigned to) noexcept;
  // The child takes the place of all that is listed, which is dead from now on.
  void replace(Word& slot, uint64_t child) noexcept;
  // Lets go of it.
  void dispose_listed() noexcept;

  BasicMapleTree<P>& tree_;
  uint64_t first_;
  uint64_t last_;
  const uint64_t entry_;
  uint64_t removed_gap_ = 0;  // by a change within one leaf
  Growth growth_ = Growth::anywhere;
  unsigned records_ = 0;
  NodeCount gone_;               // marked dead, and not yet disposed of
  Step left_[kMapleMaxHeight];   // the way to the first index that changes
  Step right_[kMapleMaxHeight];  // and to the last one; rebuild only
  MapleRecord<P> listed_[4 * kMapleMaxHeight];
};

template <class P>
auto MapleWriter<P>::child_step(const Step& at, unsigned slot) noexcept -> Step {
  const Inner& inner = *at.node.inner();
  return {Ref(inner.slots[slot].load(std::memory_order_relaxed)),
          slot == 0 ? at.first : inner.pivots[slot - 1] + 1,
          slot + 1 == inner.head.count ? at.last : inner.pivots[slot], 0};
}

template <class P>
void MapleWriter<P>::walk(Step* way, uint64_t index) const noexcept {
  Step at{Ref(tree_.root_.load(std::memory_order_relaxed)), 0, kMapleMax, 0};
  while (!at.node.is_leaf()) {
    const Inner& inner = *at.node.inner();
    inner.prefetch_slots();
    at.slot = inner.slot_of(index);
    *way++ = at;
    at.node = Ref(inner.slots[at.slot].load(std::memory_order_relaxed));
    // An unused pivot is kMapleMax: the last child ends where its parent does.
    if (at.slot + 1 < kInnerSlots) at.last = std::min(at.last, inner.pivots[at.slot]);
    if (at.slot > 0) at.first = inner.pivots[at.slot - 1] + 1;
  }
  at.node.leaf()->prefetch_slots();
  at.slot = at.node.leaf()->slot_of(index);
  *way = at;
}

template <class P>
void MapleWriter<P>::store() noexcept {
  if (tree_.empty()) {
    if (entry_ != 0) start_tree();
    return;
  }
  walk(left_, first_);
  if (last_ > left_[tree_.height_ - 1].last || !store_in_leaf()) rebuild();
}

template <class P>
bool MapleWriter<P>::store_if_empty() noexcept {
  if (tree_.empty()) {
    start_tree();
    return true;
  }
  walk(left_, first_);
  // Empty neighbours are one, and do not cross leaves.
  const Step& at = left_[tree_.height_ - 1];
  if (entry_at(*at.node.leaf(), at.slot) != 0 || slot_last(at, at.slot) < last_) return false;
  if (!store_in_leaf()) rebuild();
  return true;
}

template <class P>
auto MapleWriter<P>::touched(const Step& at) const noexcept -> Touched {
  Touched t{at.slot, at.slot, slot_first(at, at.slot), slot_last(at, at.slot)};
  while (t.b < last_) t.b = slot_last(at, ++t.j);
  return t;
}

// Makes an empty range swallow the empty ones that it touches within the leaf. False: it was empty.
template <class P>
bool MapleWriter<P>::widen_empty(const Step& at, Touched& t) noexcept {
  const Leaf& leaf = *at.node.leaf();
  if (entry_at(leaf, t.i) == 0) {
    if (t.i == t.j) return false;
    first_ = t.a;
  } else if (t.a == first_ && t.i > 0 && entry_at(leaf, t.i - 1) == 0) {
    first_ = t.a = slot_first(at, --t.i);
  }
  if (entry_at(leaf, t.j) == 0) {
    last_ = t.b;
  } else if (t.b == last_ && t.j + 1 < leaf.head.count && entry_at(leaf, t.j + 1) == 0) {
    last_ = t.b = slot_last(at, ++t.j);
  }
  return true;
}

// False: it does not fit into one leaf that is full enough and does not end with an empty range.
template <class P>
bool MapleWriter<P>::store_in_leaf() noexcept {
  const unsigned level = tree_.height_ - 1;
  const Step at = left_[level];
  Touched t = touched(at);
  if (entry_ == 0) {
    if (!widen_empty(at, t)) return true;
    if (last_ == at.last && at.last != kMapleMax) return false;
  }
  const unsigned had = at.node.head().count;
  const unsigned count = had - (t.j - t.i) + (t.a < first_ ? 1 : 0) + (last_ < t.b ? 1 : 0);
  if (count == had && store_in_place(at, t)) return true;
  if (count > kLeafSlots || (count < kLeafMin && level > 0)) return false;
  if (count == 1 && entry_ == 0) {
    replace_all(at.node, Ref(uint64_t{0}), 0);
    return true;
  }
  note_gap(at, t);
  Leaf* leaf = copy_leaf(at, t, count);
  list(at.node, 0, 0);
  typename Protocol::Word& slot =
      level == 0 ? tree_.root_ : left_[level - 1].node.inner()->slots[left_[level - 1].slot];
  replace(slot, Ref(leaf).word());
  settle_gap(at, *leaf);
  dispose_listed();
  return true;
}

// The rules for this are the protocol's; false when they forbid it.
template <class P>
bool MapleWriter<P>::store_in_place(const Step& at, const Touched& t) noexcept {
  Leaf& leaf = *at.node.leaf();
  note_gap(at, t);
  if (t.i == t.j) {
    Protocol::exchange_entry(leaf.slots[t.i], entry_);
  } else if (t.j == t.i + 1 && t.a == first_) {
    Protocol::move_boundary(leaf.slots[t.i], entry_, leaf.pivots[t.i], last_);
  } else if (t.j == t.i + 1 && t.b == last_) {
    Protocol::move_boundary(leaf.slots[t.j], entry_, leaf.pivots[t.i], first_ - 1);
  } else {
    return false;
  }
  settle_gap(at, leaf);
  return true;
}

template <class P>
auto MapleWriter<P>::copy_leaf(const Step& at, const Touched& t, unsigned count) noexcept -> Leaf* {
  const Leaf& old = *at.node.leaf();
  Leaf* leaf = make_node<Leaf>();
  const auto copy = [](Word& to, const Word& from) noexcept {
    to.store(from.load(std::memory_order_relaxed), std::memory_order_relaxed);
  };
  unsigned n = 0;
  for (; n < t.i; ++n) {
    copy(leaf->slots[n], old.slots[n]);
    copy(leaf->pivots[n], old.pivots[n]);
  }
  const auto put = [&](uint64_t entry, uint64_t last) noexcept {
    leaf->slots[n].store(entry, std::memory_order_relaxed);
    if (n + 1 < count) leaf->pivots[n].store(last, std::memory_order_relaxed);
    ++n;
  };
  if (t.a < first_) put(entry_at(old, t.i), first_ - 1);
  put(entry_, last_);
  if (last_ < t.b) put(entry_at(old, t.j), t.b);
  for (unsigned s = t.j + 1; n < count; ++s, ++n) {
    copy(leaf->slots[n], old.slots[s]);
    if (n + 1 < count) copy(leaf->pivots[n], old.pivots[s]);
  }
  finish_leaf(*leaf, count);
  return leaf;
}

template <class P>
void MapleWriter<P>::finish_leaf(Leaf& leaf, unsigned count) noexcept {
  for (unsigned s = count - 1; s < kLeafSlots - 1; ++s) {
    leaf.pivots[s].store(kMapleMax, std::memory_order_relaxed);
  }
  leaf.head.count = static_cast<uint8_t>(count);
}

template <class P>
template <class Node>
Node* MapleWriter<P>::make_node() noexcept {
  if constexpr (std::is_same_v<Node, Leaf>) {
    ++tree_.nodes_.leaves;
    return ::new (tree_.stock_.leaves.pop()) Node();
  } else {
    ++tree_.nodes_.inners;
    return ::new (tree_.stock_.inners.pop()) Node();
  }
}

template <class P>
void MapleWriter<P>::list(Ref node, unsigned from, unsigned to) noexcept {
  if (node.head().listed != 0) return;
  node.head().listed = 1;
  PERVMA_DASSERT_OP(records_, <, 4 * kMapleMaxHeight);
  listed_[records_++] = MapleRecord<P>::of(node, from, to);
}

template <class P>
void MapleWriter<P>::replace(Word& slot, uint64_t child) noexcept {
  // Listed from the leaves up; disposed of from the top down, see MapleRecord.
  Protocol::replace(slot, child, [this]() noexcept {
    for (unsigned i = records_; i-- > 0;) {
      listed_[i].for_each([this](Ref node) noexcept {
        Protocol::mark_dead(node.head().dead);
        ++(node.is_leaf() ? gone_.leaves : gone_.inners);
      });
    }
  });
}

template <class P>
void MapleWriter<P>::dispose_listed() noexcept {
  tree_.nodes_.leaves -= gone_.leaves;
  tree_.nodes_.inners -= gone_.inners;
  for (unsigned i = records_; i-- > 0;) tree_.dispose(listed_[i]);
  records_ = 0;
  tree_.after_disposal(gone_.sum());
  gone_ = {};
  tree_.trim_stock();
}

}  // namespace pervma

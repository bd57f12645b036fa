// maple_rebuild.h: the stores that change more than one node of a maple tree.
//
// Level by level from the leaves up: what the replaced nodes still hold is gathered with the change
// in it, evened out with a neighbour if it is too little, and cut into new nodes, which nobody sees
// yet. The level where one new node takes the place of one old one is the top: one publication
// there makes all of it visible at once, or else a new root does. Then everything replaced dies.
//
//   left_, right_    the ways to the first and last node replaced on each level
//   items            what the level's new nodes will hold; afterwards, those nodes for the level
//   above
#pragma once

#include "tree/maple_writer.h"

namespace pervma {

template <class P>
void MapleWriter<P>::start_tree() noexcept {
  Leaf* leaf = make_node<Leaf>();
  unsigned n = 0;
  if (first_ > 0) leaf->pivots[n++].store(first_ - 1, std::memory_order_relaxed);
  leaf->slots[n].store(entry_, std::memory_order_relaxed);
  leaf->pivots[n++].store(last_, std::memory_order_relaxed);
  finish_leaf(*leaf, n + 1);
  tree_.height_ = 1;
  Protocol::publish(tree_.root_, Ref(leaf).word());
}

template <class P>
void MapleWriter<P>::replace_all(Ref old, Ref root, unsigned height) noexcept {
  if (!old.is_null()) list(old, 0, old.head().count);
  replace(tree_.root_, root.word());
  tree_.height_ = height;
  dispose_listed();
}

template <class P>
MapleRef<P> MapleWriter<P>::copy_below(Ref node) noexcept {
  if (node.is_leaf()) {
    const Leaf& old = *node.leaf();
    Leaf* leaf = make_node<Leaf>();
    for (unsigned s = 0; s < kLeafSlots; ++s) {
      leaf->slots[s].store(entry_at(old, s), std::memory_order_relaxed);
      if (s + 1 < kLeafSlots) leaf->pivots[s].store(pivot_at(old, s), std::memory_order_relaxed);
    }
    leaf->head.count = old.head.count;
    return Ref(leaf);
  }
  const Inner& old = *node.inner();
  Inner* inner = make_node<Inner>();
  std::copy_n(old.pivots, kInnerSlots - 1, inner->pivots);
  std::copy_n(old.gaps, kInnerSlots, inner->gaps);
  inner->head.count = old.head.count;
  for (unsigned s = 0; s < old.head.count; ++s) {
    const Ref child(old.slots[s].load(std::memory_order_relaxed));
    inner->slots[s].store(copy_below(child).word(), std::memory_order_relaxed);
  }
  return Ref(inner);
}

template <class P>
void MapleWriter<P>::rebuild() noexcept {
  unsigned level = tree_.height_ - 1;
  Items items;
  gather_leaves(items);
  even_out_leaves(items);
  if (covers_all(level) && items.count == 1 && items.item[0].word == 0) {
    replace_all(Ref(tree_.root_.load(std::memory_order_relaxed)), Ref(uint64_t{0}), 0);
    return;
  }
  build_leaves(items, left_[level].first);
  unsigned height = 1;
  while (level > 0) {
    const unsigned above = level - 1;
    const Step& left = left_[above];
    const Step& right = right_[above];
    if (items.count == 1 && left.node == right.node && left.slot == right.slot) {
      replace(left.node.inner()->slots[left.slot], items.item[0].word);
      update_gaps(level, items.item[0].gap);
      dispose_listed();
      return;
    }
    gather_children(above, items);
    even_out_children(above, items);
    // A single node for the whole index space needs no parent: the tree gets lower.
    if (items.count > 1 || !covers_all(above)) {
      build_inners(items);
      ++height;
    }
    level = above;
  }
  replace_root(items, height);
}

template <class P>
void MapleWriter<P>::replace_root(Items& items, unsigned height) noexcept {
  if (items.count > 1) {
    build_inners(items);
    ++height;
  }
  PERVMA_ASSERT_OP(height, <, kMapleMaxHeight);
  tree_.height_ = height;
  replace(tree_.root_, items.item[0].word);
  dispose_listed();
}

template <class P>
void MapleWriter<P>::gather_leaves(Items& items) noexcept {
  const unsigned level = tree_.height_ - 1;
  // From the start: an empty range may have been widened since the first walk.
  walk(left_, first_);
  walk(right_, last_);
  const Step left = left_[level];
  Step right = right_[level];
  list(left.node, 0, 0);
  list(right.node, 0, 0);
  unsigned i = left.slot;
  unsigned j = right.slot;
  uint64_t a = slot_first(left, i);
  uint64_t b = slot_last(right, j);
  const uint64_t before = entry_at(*left.node.leaf(), i);
  const uint64_t behind = entry_at(*right.node.leaf(), j);
  unsigned resume = j + 1;
  if (entry_ == 0) {
    if (before == 0) {
      first_ = a;
    } else if (a == first_ && i > 0 && entry_at(*left.node.leaf(), i - 1) == 0) {
      first_ = a = slot_first(left, --i);
    }
    if (behind == 0) {
      last_ = b;
    } else if (b == last_) {
      if (resume == right.node.head().count) {
        // An empty range must not end a leaf: it becomes the first of the next one.
        advance(right_, level);
        right = right_[level];
        list(right.node, 0, 0);
        resume = 0;
      }
      if (entry_at(*right.node.leaf(), resume) == 0) last_ = b = slot_last(right, resume++);
    }
  }
  append_leaf(left, 0, i, items);
  if (a < first_) items.push(before, first_ - 1);
  items.hot = items.count;
  items.push(entry_, last_);
  if (last_ < b) items.push(behind, b);
  append_leaf(right, resume, right.node.head().count, items);
}

// Takes a neighbour in when there is too little for a leaf, or too much while the neighbour has
// room.
template <class P>
void MapleWriter<P>::even_out_leaves(Items& items) noexcept {
  const unsigned level = tree_.height_ - 1;
  if (covers_all(level)) return;
  const bool to_right = right_is_closer(level);
  if (items.count >= kLeafMin) {
    if (items.count <= kLeafSlots || items.count > kLeafSlots + 2) return;
    // Only within one parent, which is copied anyway; and only if room is left for later.
    const Step& up = to_right ? right_[level - 1] : left_[level - 1];
    if (to_right ? up.slot + 1 >= up.node.head().count : up.slot == 0) return;
    const Step next = child_step(up, to_right ? up.slot + 1 : up.slot - 1);
    if (items.count + next.node.head().count > kShareBelow) return;
  }
  if (to_right) {
    advance(right_, level);
    append_leaf(right_[level], 0, right_[level].node.head().count, items);
    list(right_[level].node, 0, 0);
    return;
  }
  retreat(left_, level);
  Items all;
  append_leaf(left_[level], 0, left_[level].node.head().count, all);
  all.hot = all.count + items.hot;
  all.append(items);
  items = all;
  list(left_[level].node, 0, 0);
}

template <class P>
void MapleWriter<P>::gather_children(unsigned level, Items& items) noexcept {
  const Step& left = left_[level];
  const Step& right = right_[level];
  if (left.node == right.node) {
    list(left.node, left.slot + 1, right.slot);
  } else {
    list(left.node, left.slot + 1, left.node.head().count);
    list(right.node, 0, right.slot);
  }
  Items all;
  append_children(left, 0, left.slot, all);
  all.hot = all.count;
  all.append(items);
  append_children(right, right.slot + 1, right.node.head().count, all);
  items = all;
}

template <class P>
void MapleWriter<P>::even_out_children(unsigned level, Items& items) noexcept {
  if (items.count >= kInnerMin || covers_all(level)) return;
  if (right_is_closer(level)) {
    advance(right_, level);
    append_children(right_[level], 0, right_[level].node.head().count, items);
    list(right_[level].node, 0, 0);
    return;
  }
  retreat(left_, level);
  Items all;
  append_children(left_[level], 0, left_[level].node.head().count, all);
  all.hot = all.count + items.hot;
  all.append(items);
  items = all;
  list(left_[level].node, 0, 0);
}

template <class P>
void MapleWriter<P>::append_leaf(const Step& at, unsigned from, unsigned to,
                                 Items& items) const noexcept {
  for (unsigned s = from; s < to; ++s) {
    items.push(entry_at(*at.node.leaf(), s), slot_last(at, s));
  }
}

template <class P>
void MapleWriter<P>::append_children(const Step& at, unsigned from, unsigned to,
                                     Items& items) const noexcept {
  for (unsigned s = from; s < to; ++s) {
    const Step child = child_step(at, s);
    items.push(child.node.word(), child.last, at.node.inner()->gaps[s]);
  }
}

// How many of the items from `from` on go into the next of `pieces` leaves.
template <class P>
unsigned MapleWriter<P>::leaf_cut(const Items& items, unsigned from, unsigned pieces) noexcept {
  const unsigned rest = items.count - from;
  if (pieces == 1) return rest;
  unsigned cut = (rest + pieces - 1) / pieces;
  if (items.count <= kLeafSlots + 2) {
    const bool at_end = items.hot + 1 == items.count ||
                        (items.hot + 2 == items.count && items.item[items.count - 1].word == 0);
    const bool at_begin = items.hot == 0 || (items.hot == 1 && items.item[0].word == 0);
    if (at_end) {
      growth_ = Growth::upward;
      cut = rest - kLeafMin;
    } else if (at_begin) {
      growth_ = Growth::downward;
      cut = kLeafMin;
    }
  }
  // Not behind an empty range. Two of them are never adjacent, so a step either way will do.
  if (items.item[from + cut - 1].word != 0) return cut;
  const bool up = cut < kLeafSlots && rest - cut > kLeafMin * (pieces - 1);
  return up ? cut + 1 : cut - 1;
}

template <class P>
void MapleWriter<P>::build_leaves(Items& items, uint64_t first) noexcept {
  // One slot of slack per leaf, because a cut may have to move by one.
  unsigned pieces =
      items.count <= kLeafSlots ? 1 : (items.count + kLeafSlots - 2) / (kLeafSlots - 1);
  Items leaves;
  for (unsigned from = 0; pieces > 0; --pieces) {
    const unsigned count = leaf_cut(items, from, pieces);
    PERVMA_DASSERT_OP(count, <=, kLeafSlots);
    Leaf* leaf = make_node<Leaf>();
    for (unsigned s = 0; s < count; ++s) {
      leaf->slots[s].store(items.item[from + s].word, std::memory_order_relaxed);
      if (s + 1 < count)
        leaf->pivots[s].store(items.item[from + s].last, std::memory_order_relaxed);
    }
    finish_leaf(*leaf, count);
    from += count;
    const uint64_t last = items.item[from - 1].last;
    leaves.push(Ref(leaf).word(), last, leaf_gap(*leaf, first, last));
    first = last + 1;
  }
  items = leaves;
}

template <class P>
void MapleWriter<P>::build_inners(Items& items) noexcept {
  unsigned pieces = (items.count + kInnerSlots - 1) / kInnerSlots;
  Items inners;
  for (unsigned from = 0; pieces > 0; --pieces) {
    unsigned count = (items.count - from + pieces - 1) / pieces;
    if (pieces == 2 && items.count <= kInnerSlots + 2) {
      if (growth_ == Growth::upward && items.hot + 3 > items.count) count = items.count - kInnerMin;
      if (growth_ == Growth::downward && items.hot == 0) count = kInnerMin;
    }
    Inner* inner = make_node<Inner>();
    for (unsigned s = 0; s < count; ++s) {
      const Item& child = items.item[from + s];
      inner->slots[s].store(child.word, std::memory_order_relaxed);
      inner->gaps[s] = child.gap;
      if (s + 1 < kInnerSlots) inner->pivots[s] = s + 1 < count ? child.last : kMapleMax;
    }
    for (unsigned s = count; s < kInnerSlots - 1; ++s) inner->pivots[s] = kMapleMax;
    inner->head.count = static_cast<uint8_t>(count);
    from += count;
    inners.push(Ref(inner).word(), items.item[from - 1].last, inner_gap(*inner));
  }
  items = inners;
}

// A neighbour under the same parent spares copying another one.
template <class P>
bool MapleWriter<P>::right_is_closer(unsigned level) const noexcept {
  const Step& right = right_[level - 1];
  if (right.slot + 1 < right.node.head().count) return true;
  return left_[level - 1].slot == 0 && right_[level].last != kMapleMax;
}

// Moves the way to the next node of the level. False: there is none.
template <class P>
bool MapleWriter<P>::advance(Step* way, unsigned level) noexcept {
  unsigned up = level;
  do {
    if (up == 0) return false;
    --up;
  } while (way[up].slot + 1 >= way[up].node.head().count);
  ++way[up].slot;
  for (; up < level; ++up) way[up + 1] = child_step(way[up], way[up].slot);
  return true;
}

template <class P>
bool MapleWriter<P>::retreat(Step* way, unsigned level) noexcept {
  unsigned up = level;
  do {
    if (up == 0) return false;
    --up;
  } while (way[up].slot == 0);
  --way[up].slot;
  for (; up < level; ++up) {
    way[up + 1] = child_step(way[up], way[up].slot);
    way[up + 1].slot = way[up + 1].node.head().count - 1u;
  }
  return true;
}

}  // namespace pervma

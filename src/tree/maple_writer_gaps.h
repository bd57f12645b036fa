// maple_writer_gaps.h: how a store within one leaf keeps the gaps above it right.
#pragma once

#include "tree/maple_writer.h"

namespace pervma {

// Before a change within one leaf: the longest empty run that it takes away.
template <class P>
void MapleWriter<P>::note_gap(const Step& at, const Touched& t) noexcept {
  if (entry_ == 0) {
    // What it takes away is part of the run that it makes.
    removed_gap_ = 0;
  } else if (t.i == t.j) {
    removed_gap_ = entry_at(*at.node.leaf(), t.i) == 0 ? t.b - t.a + 1 : 0;
  } else {
    removed_gap_ = kMapleMax;  // Some, at most.
  }
}

// After it. The leaf is looked through only if its longest run may be gone.
template <class P>
void MapleWriter<P>::settle_gap(const Step& at, const Leaf& leaf) noexcept {
  const unsigned level = tree_.height_ - 1;
  if (level == 0) return;
  const uint64_t gap = left_[level - 1].node.inner()->gaps[left_[level - 1].slot];
  const uint64_t made = entry_ == 0 ? last_ - first_ + 1 : 0;
  if (made >= gap) {
    update_gaps(level, made);
  } else if (removed_gap_ >= gap) {
    update_gaps(level, leaf_gap(leaf, at.first, at.last));
  }
}

// The node at `level` on the left way has this gap now: tells those above it, as far as it matters.
template <class P>
void MapleWriter<P>::update_gaps(unsigned level, uint64_t gap) noexcept {
  while (level-- > 0) {
    Inner& inner = *left_[level].node.inner();
    if (inner.gaps[left_[level].slot] == gap) return;
    inner.gaps[left_[level].slot] = gap;
    gap = inner_gap(inner);
  }
}

template <class P>
uint64_t MapleWriter<P>::leaf_gap(const Leaf& leaf, uint64_t first, uint64_t last) noexcept {
  uint64_t gap = 0;
  const unsigned count = leaf.head.count;
  for (unsigned s = 0; s < count; ++s) {
    const uint64_t end = s + 1 == count ? last : pivot_at(leaf, s);
    if (entry_at(leaf, s) == 0) gap = std::max(gap, end - first + 1);
    first = end + 1;
  }
  return gap;
}

}  // namespace pervma

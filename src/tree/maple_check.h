// maple_check.h: the structure of a maple tree, verified in labelled clauses.
//
//   [alive]     a reachable node is not dead and not on a list of replaced ones
//   [fill]      a node but the root has at least its minimum of slots; an inner root has two
//   [order]     pivots rise strictly within their node's bounds; those not in use are kMapleMax
//   [unused]    slots that are not in use are null; children are not null
//   [empty]     no two neighbouring ranges are empty; none ends a leaf but the last, where one does
//   [gaps]      each gap is the longest empty run below its child
//   [height]    all leaves have the height that the tree knows, and its nodes are as many as it
//   knows
#pragma once

#include <cstdint>
#include <string>

#include "tree/maple_writer.h"

namespace pervma {

template <class P>
class MapleCheck {
 public:
  explicit MapleCheck(const BasicMapleTree<P>& tree) noexcept : tree_(tree) {}

  std::string run() {
    const Ref root(tree_.root_.load(std::memory_order_relaxed));
    if (root.is_null()) {
      expect(tree_.height_ == 0, "height", "an empty tree has a height", 0);
    } else {
      node(root, 0, kMapleMax, 1);
    }
    expect(nodes_ == tree_.nodes_.sum(), "height", "another number of nodes", nodes_);
    return report_;
  }

 private:
  using Ref = MapleRef<P>;

  void expect(bool holds, const char* clause, const char* what, uint64_t index) {
    // One broken node breaks many clauses: the first few tell.
    if (holds || report_.size() > 1000) return;
    report_ += std::string("[") + clause + "] " + what + " at " + std::to_string(index) + "\n";
  }

  // Returns the longest empty run.
  uint64_t node(Ref ref, uint64_t first, uint64_t last, unsigned level) {
    ++nodes_;
    const MapleHead<P>& head = ref.head();
    expect(head.dead.load(std::memory_order_relaxed) == 0, "alive", "a dead node", first);
    expect(head.listed == 0, "alive", "a listed node", first);
    return ref.is_leaf() ? leaf(*ref.leaf(), first, last, level)
                         : inner(*ref.inner(), first, last, level);
  }

  uint64_t leaf(const MapleLeaf<P>& leaf, uint64_t first, uint64_t last, unsigned level) {
    const unsigned count = leaf.head.count;
    expect(level == tree_.height_, "height", "a leaf at another height", first);
    expect(count <= kLeafSlots && count >= (level == 1 ? 2 : kLeafMin), "fill", "a leaf", first);
    if (count == 0 || count > kLeafSlots) return 0;
    uint64_t begin = first;
    uint64_t gap = 0;
    bool after_empty = false;
    for (unsigned s = 0; s < count; ++s) {
      const uint64_t end = s + 1 < count ? leaf.pivots[s].load(std::memory_order_relaxed) : last;
      expect(begin <= end && end <= last && (s + 1 == count || end < last), "order", "a leaf pivot",
             begin);
      const bool is_empty = leaf.slots[s].load(std::memory_order_relaxed) == 0;
      expect(!is_empty || !after_empty, "empty", "two empty ranges", begin);
      if (is_empty) gap = std::max(gap, end - begin + 1);
      after_empty = is_empty;
      begin = end + 1;
    }
    expect(after_empty == (last == kMapleMax), "empty", "the end of a leaf", last);
    for (unsigned s = count - 1; s < kLeafSlots - 1; ++s) {
      expect(leaf.pivots[s].load(std::memory_order_relaxed) == kMapleMax, "order",
             "an unused pivot", first);
      expect(leaf.slots[s + 1].load(std::memory_order_relaxed) == 0, "unused", "a leaf slot",
             first);
    }
    return gap;
  }

  uint64_t inner(const MapleInner<P>& inner, uint64_t first, uint64_t last, unsigned level) {
    const unsigned count = inner.head.count;
    expect(count <= kInnerSlots && count >= (level == 1 ? 2 : kInnerMin), "fill", "an inner node",
           first);
    if (count == 0 || count > kInnerSlots || level >= kMapleMaxHeight) return 0;
    uint64_t begin = first;
    uint64_t gap = 0;
    for (unsigned s = 0; s < count; ++s) {
      const uint64_t end = s + 1 < count ? inner.pivots[s] : last;
      expect(begin <= end && end <= last && (s + 1 == count || end < last), "order", "a pivot",
             begin);
      const Ref child(inner.slots[s].load(std::memory_order_relaxed));
      expect(!child.is_null(), "unused", "a null child", begin);
      if (child.is_null()) return gap;
      const uint64_t below = node(child, begin, end, level + 1);
      expect(inner.gaps[s] == below, "gaps", "another gap", begin);
      gap = std::max(gap, below);
      begin = end + 1;
    }
    for (unsigned s = count - 1; s < kInnerSlots - 1; ++s) {
      expect(inner.pivots[s] == kMapleMax, "order", "an unused pivot", first);
      expect(inner.slots[s + 1].load(std::memory_order_relaxed) == 0 && inner.gaps[s + 1] == 0,
             "unused", "a child or gap", first);
    }
    return gap;
  }

  const BasicMapleTree<P>& tree_;
  size_t nodes_ = 0;
  std::string report_;
};

template <class P>
std::string BasicMapleTree<P>::check() const {
  return MapleCheck<P>(*this).run();
}

}  // namespace pervma

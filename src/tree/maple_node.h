// maple_node.h: the two kinds of node of the maple tree, and the words that point at them.
//
// A node holds `count` slots in index order. Slot i covers the indices from the pivot before it
// (exclusive; for slot 0 the node's own first index) to pivot i (inclusive; for the last slot the
// node's own last index). A node's own bounds are known from the walk to it.
//
//   leaf    256 bytes: head, 15 pivots, 16 entries; an empty range is a null entry
//   inner   768 bytes: head, 30 pivots, 31 children, 31 gaps (the longest empty run below each
//   child)
//
// A store copies a leaf, so leaves are small; it writes one word of an inner node, so those are
// wide, and the tree is low.
//
// Who may look: pivots and children of an inner node never change after publication except that a
// child is replaced by one of equal bounds, so its pivots are plain; gaps are the writer's own, and
// of readers that hold its lock. `dead` is set once, for cursors; the rest of the head is the
// writer's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tree/maple_protocol.h"
#include "tree/node_search.h"

namespace pervma {

inline constexpr size_t kLeafBytes = 256;
inline constexpr size_t kNodeAlign = 256;
inline constexpr size_t kInnerBytes = 768;
inline constexpr unsigned kLeafSlots = 16;
inline constexpr unsigned kInnerSlots = 31;
// Below these a node is merged with a neighbour or evened out with it; the root may be smaller.
inline constexpr unsigned kLeafMin = 5;
inline constexpr unsigned kInnerMin = 9;
// More than 9^19 leaves do not fit into memory.
inline constexpr unsigned kMapleMaxHeight = 20;

template <class P>
struct MapleHead {
  typename MapleProtocol<P>::Mark dead;
  uint8_t count;   // slots in use
  uint8_t listed;  // replaced by the store in progress, and on its list
  // Of one that is listed: the children [from, to) are replaced with it, as whole subtrees.
  uint8_t from;
  uint8_t to;
};

template <class P>
struct alignas(kNodeAlign) MapleLeaf {
  using Word = typename MapleProtocol<P>::Word;
  MapleHead<P> head;
  Word pivots[kLeafSlots - 1];
  Word slots[kLeafSlots];

  // The slot that holds `index`, by MapleProtocol::leaf_slot() or as many at a time as it gets.
  unsigned slot_of(uint64_t index) const noexcept {
    if constexpr (detail::kMayVectorSearch<P>) {
      if (detail::vector_search != detail::VectorSearch::none)
        return detail::vector_leaf_slot(*this, index);
    }
    return MapleProtocol<P>::template leaf_slot<kLeafSlots - 1>(pivots, index);
  }

  // The pivots fill two cache lines, the slots two more: fetched while the pivots are compared.
  void prefetch_slots() const noexcept {
    __builtin_prefetch(&slots[0]);
    __builtin_prefetch(&slots[kLeafSlots / 2]);
  }
};

template <class P>
struct alignas(kNodeAlign) MapleInner {
  using Word = typename MapleProtocol<P>::Word;
  MapleHead<P> head;
  uint64_t pivots[kInnerSlots - 1];
  Word slots[kInnerSlots];
  uint64_t gaps[kInnerSlots];

  // The slot that holds `index`; as MapleProtocol::leaf_slot(), over pivots that never change.
  unsigned slot_of(uint64_t index) const noexcept {
    if constexpr (detail::kMayVectorSearch<P>) {
      if (detail::vector_search != detail::VectorSearch::none)
        return detail::vector_inner_slot(*this, index);
    }
    static_assert(kInnerSlots % 2 == 1);
    unsigned even = 0;
    unsigned odd = 0;
    for (unsigned i = 0; i < kInnerSlots - 1; i += 2) {
      even += pivots[i] < index ? 1 : 0;
      odd += pivots[i + 1] < index ? 1 : 0;
    }
    return even + odd;
  }

  // The first slot shares a line with the last pivots.
  void prefetch_slots() const noexcept {
    for (unsigned i = 1; i < kInnerSlots; i += 8) __builtin_prefetch(&slots[i]);
  }
};

// A pointer to a node with its kind in the lowest bit, as it stands in slots. Null: no node.
template <class P>
class MapleRef {
 public:
  MapleRef() noexcept = default;  // Undefined: ways are arrays of which few steps are used.
  explicit constexpr MapleRef(uint64_t word) noexcept : word_(word) {}
  explicit MapleRef(const MapleLeaf<P>* leaf) noexcept
      : word_(reinterpret_cast<uint64_t>(leaf) | kLeafBit) {}
  explicit MapleRef(const MapleInner<P>* inner) noexcept
      : word_(reinterpret_cast<uint64_t>(inner)) {}

  uint64_t word() const noexcept { return word_; }
  bool is_null() const noexcept { return word_ == 0; }
  bool is_leaf() const noexcept { return (word_ & kLeafBit) != 0; }
  MapleLeaf<P>* leaf() const noexcept { return reinterpret_cast<MapleLeaf<P>*>(word_ - kLeafBit); }
  MapleInner<P>* inner() const noexcept { return reinterpret_cast<MapleInner<P>*>(word_); }
  // Both kinds begin with it.
  MapleHead<P>& head() const noexcept {
    return *reinterpret_cast<MapleHead<P>*>(word_ & ~kLeafBit);
  }
  friend bool operator==(MapleRef, MapleRef) = default;

 private:
  static constexpr uint64_t kLeafBit = 1;
  uint64_t word_;
};

}  // namespace pervma

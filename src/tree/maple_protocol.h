// maple_protocol.h: every ordered memory access of the maple tree, in one place.
//
// The rules (which a model checker explores by these very functions):
//   publish   a node is filled privately, then one release store into its parent's slot or the root
//             makes it reachable; only then is the node it replaces marked dead.
//   in place  one entry is exchanged, or one boundary moves: entry first, then pivot, both release.
//   read      pivots with acquire, and before the slot that they select.
// With these a reader meets, for an index that no store covers meanwhile, exactly its entry, and
// for any other index an old or a new one. Across two in-place stores it may pair an old pivot with
// a newer entry and get a neighbour of the index: the entry's own bounds tell.
//
// P is the platform: std::atomic natively, a checker's own atomics under a model checker.
#pragma once

#include <atomic>
#include <cstdint>

#include "sync/site.h"

namespace pervma {

// Past the last index that can be stored; also the pivot of slots that are not in use.
inline constexpr uint64_t kMapleMax = ~uint64_t{0};

template <class P>
struct MapleProtocol {
  using Word = typename P::template Atomic<uint64_t>;
  using Mark = typename P::template Atomic<uint32_t>;

  // --- readers; wait-free ---

  // The root or a child: whoever gets a node sees all that was written into it before publish().
  static uint64_t child(const Word& slot) noexcept {
    return slot.load(
        P::order(Site::maple_child, std::memory_order_acquire));  // [T1] pairs with [T2]
  }

  // Unlocked readers must load the pivots first.
  static uint64_t entry(const Word& slot) noexcept {
    return slot.load(
        P::order(Site::maple_entry, std::memory_order_acquire));  // [T3] pairs with [T4]
  }

  static uint64_t pivot(const Word& pivot) noexcept {
    return pivot.load(
        P::order(Site::maple_pivot, std::memory_order_acquire));  // [T5] pairs with [T6]
  }

  // The slot that holds `index`: the number of pivots below it. Pivots out of use are kMapleMax. No
  // early exit: on random lookups it would cost a mispredicted branch per node.
  template <unsigned kPivots>
  static unsigned leaf_slot(const Word* pivots, uint64_t index) noexcept {
    unsigned even = 0;
    unsigned odd = 0;
    for (unsigned i = 0; i + 1 < kPivots; i += 2) {
      even += pivot(pivots[i]) < index ? 1 : 0;
      odd += pivot(pivots[i + 1]) < index ? 1 : 0;
    }
    if constexpr (kPivots % 2 != 0) even += pivot(pivots[kPivots - 1]) < index ? 1 : 0;
    return even + odd;
  }

  // A cursor that finds its node dead starts again at the root, and then meets the replacement.
  static bool is_dead(const Mark& mark) noexcept {
    const auto order = P::order(Site::maple_is_dead, std::memory_order_acquire);  // [T7] with [T8]
    return mark.load(order) != 0;
  }

  // --- the one writer ---

  // The node behind `child` is complete and from now on reachable.
  static void publish(Word& slot, uint64_t child) noexcept {
    slot.store(child,
               P::order(Site::maple_publish, std::memory_order_release));  // [T2] pairs with [T1]
  }

  static void mark_dead(Mark& mark) noexcept {
    mark.store(1,
               P::order(Site::maple_mark_dead, std::memory_order_release));  // [T8] pairs with [T7]
  }

  // The node behind `child` takes the place of those that `mark_old` marks dead: it is reachable
  // before, so that a walk that begins at a mark does not lead to a marked node again.
  template <class MarkOld>
  static void replace(Word& slot, uint64_t child, MarkOld&& mark_old) noexcept {
    if (P::keep(Site::maple_publish_before_dead)) publish(slot, child);
    mark_old();
    if (!P::keep(Site::maple_publish_before_dead)) publish(slot, child);
  }

  // The slot keeps its bounds and gets another entry.
  static void exchange_entry(Word& slot, uint64_t entry) noexcept {
    slot.store(entry,
               P::order(Site::maple_exchange, std::memory_order_release));  // [T4] pairs with [T3]
  }

  // `slot` is on either side of `pivot` and gets, with `entry`, the indices the pivot moves over.
  static void move_boundary(Word& slot, uint64_t entry, Word& pivot, uint64_t last) noexcept {
    if (P::keep(Site::maple_slot_before_pivot)) exchange_entry(slot, entry);
    pivot.store(last,
                P::order(Site::maple_boundary, std::memory_order_release));  // [T6] pairs with [T5]
    if (!P::keep(Site::maple_slot_before_pivot)) exchange_entry(slot, entry);
  }
};

}  // namespace pervma

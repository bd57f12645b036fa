// slot_word.h: the count of a slot of the store (swap.h). A template over the platform
// (sync/site.h).
#pragma once

#include <atomic>
#include <cstdint>

#include "sync/platform.h"

namespace pervma {

template <class P>
struct BasicSlotWord {
  using Refs = typename P::template Atomic<uint32_t>;

  // For a holder of one, or of the lock of a table with an entry that is one.
  static uint32_t hold(Refs& refs) noexcept { return refs.fetch_add(1, std::memory_order_relaxed); }
  // How many there were. The last one out comes after all that the others did with the slot.
  static uint32_t drop(Refs& refs) noexcept {
    return refs.fetch_sub(
        1, P::order(Site::slot_drop, std::memory_order_acq_rel));  // [F13] pairs with [F13]
  }
};

}  // namespace pervma

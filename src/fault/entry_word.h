// entry_word.h: how the words of page tables are set and read. The functions are a template over
// the platform that the atomics belong to, so that checkers run these very lines (sync/site.h).
//
// A leaf entry and a huge one change under the lock of their table and are read without it; an
// upper entry becomes a table once, by exchange. The bytes of frames are relaxed atomics: two
// fences order them.
#pragma once

#include <atomic>
#include <cstdint>

#include "sync/platform.h"

namespace pervma {

template <class P>
struct BasicEntryWord {
  using Word = typename P::template Atomic<uint64_t>;

  // --- entries of leaves
  static uint64_t look(const Word& entry) noexcept {
    return entry.load(P::order(Site::entry_look, std::memory_order_acquire));  // [P4] with [P5]
  }
  // Publishes the frame's contents. Under the table's lock.
  static void set(Word& entry, uint64_t bits) noexcept {
    entry.store(bits, P::order(Site::entry_set, std::memory_order_release));  // [P5] with [P4]
  }

  // --- huge entries
  static uint64_t look_huge(const Word& entry) noexcept {
    return entry.load(P::order(Site::huge_look, std::memory_order_acquire));  // [P11] with [P10]
  }
  // Publishes the contents of the frames, or of the table of a split. Under the table's lock.
  static void set_huge(Word& entry, uint64_t bits) noexcept {
    entry.store(bits,
                P::order(Site::huge_set, std::memory_order_release));  // [P10] with [P6] [P11]
  }

  // --- upper entries
  // In one order with the exchange below and with counts of truncations (truncations.h).
  static uint64_t descend(const Word& entry) noexcept {
    return entry.load(P::order(Site::table_look, std::memory_order_seq_cst));  // [P6] with [P7]
  }
  // Puts a table where none is; false: another was first, and `seen` is it.
  static bool publish(Word& entry, uint64_t& seen, uint64_t table) noexcept {
    seen = 0;
    return entry.compare_exchange_strong(
        seen, table,
        P::order(Site::table_publish, std::memory_order_seq_cst));  // [P7] pairs with [P6], [P7]
  }

  // --- bytes
  // Between a load's copy and its second look at the entry: the frame was here all the time, or may
  // have become another's.
  static void end_load() noexcept {
    P::fence(P::order(Site::load_ends, std::memory_order_acquire));  // [P8] pairs with [P9]
  }
  // Before a store's bytes: whoever loads them through an older entry of the frame also sees that
  // this is gone.
  static void begin_store() noexcept {
    P::fence(P::order(Site::store_begins, std::memory_order_release));  // [P9] pairs with [P8]
  }
};

}  // namespace pervma

// truncations.h: how whoever maps a page of an object finds out that the object became shorter.
//
// A truncation changes the size, counts, and then takes the entries beyond the end away, under the
// locks of their tables. Who maps a page looks at the count, then at the size, and at the count
// again under the lock of the entry's table: the truncation takes that lock later and finds the
// entry, or took it earlier and is seen. Or it met no table: then whoever makes or finds the table
// afterwards sees the new count, because counts and the places of tables (entry_word.h) are in one
// total order.
#pragma once

#include <atomic>
#include <cstdint>

#include "sync/platform.h"

namespace pervma {

template <class P>
class BasicTruncations {
 public:
  uint32_t count() const noexcept {
    return count_.load(P::order(Site::truncations_look, std::memory_order_seq_cst));  // [F5] [F12]
  }
  // The object has its new size.
  void begin() noexcept {
    count_.fetch_add(1, P::order(Site::truncation, std::memory_order_seq_cst));  // [F12] with [F5]
  }

 private:
  typename P::template Atomic<uint32_t> count_{0};
};

}  // namespace pervma

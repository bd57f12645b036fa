// retired_count.h: how many ranges of a map are retired and not yet ended, for the map's
// destructor.
//
// A range leaves its map when it is retired; its last reader ends it, and looks at the map once
// more: to count it out. Orders: tags [G], docs/memory-order.md.
#pragma once

#include <atomic>
#include <cstdint>

#include "sync/platform.h"

namespace pervma {

template <class P>
class BasicRetiredCount {
 public:
  // By the map's writer, before it retires a range; and where nobody was inside.
  void in() noexcept { count_.fetch_add(1, std::memory_order_relaxed); }
  void take_back() noexcept { count_.fetch_sub(1, std::memory_order_relaxed); }

  // By the last reader of a range, at the end of all that it does with the map. Wait-free.
  void out() noexcept {
    count_.fetch_sub(
        1, P::order(Site::range_counts_out, std::memory_order_release));  // [G5] pairs with [G6]
  }
  // True: no reader that ended a range will look at the map again.
  [[nodiscard]] bool all_out() const noexcept {
    const auto order = P::order(Site::range_all_out, std::memory_order_acquire);  // [G6] with [G5]
    return count_.load(order) == 0;
  }
  // A moment's value.
  [[nodiscard]] uint64_t value() const noexcept { return count_.load(std::memory_order_relaxed); }

 private:
  typename P::template Atomic<uint64_t> count_{0};
};

}  // namespace pervma

// refcount.h: a reference count for memory that is reused, and that saturates instead of wrapping.
//
//   value                  the object is
//   0                      free: get() fails, only set() brings it back to life
//   1 .. kLimit            held value times
//   kSaturated             held more often than can be counted: never freed again, reported once
//
// get() acquires and set() releases, because a reader may reach the object by a stale pointer after
// it was reused: whoever gets a reference sees everything the new owner wrote before set().
#pragma once

#include <cstdint>

#include "sync/assert.h"
#include "sync/platform.h"

namespace pervma {

template <class P>
class BasicRefcount {
 public:
  static constexpr uint32_t kLimit = (uint32_t{1} << 31) - 1;
  static constexpr uint32_t kSaturated = kLimit + 1;

  BasicRefcount() noexcept = default;
  explicit BasicRefcount(uint32_t value) noexcept : refs_(value) {}
  BasicRefcount(const BasicRefcount&) = delete;
  BasicRefcount& operator=(const BasicRefcount&) = delete;

  // Takes a reference unless the object is free. Lock-free.
  [[nodiscard]] bool get() noexcept {
    uint32_t n = refs_.load(std::memory_order_relaxed);
    for (;;) {
      if (P::keep(Site::ref_get_refuses_free) && n == 0) return false;
      if (P::keep(Site::ref_get_keeps_stuck) && n == kSaturated) return true;
      const uint32_t next = n + 1;  // kSaturated after kLimit
      if (refs_.compare_exchange_weak(
              n, next, P::order(Site::ref_get, std::memory_order_acquire),  // [C1] with [C4]
              std::memory_order_relaxed)) {
        if (next == kSaturated) P::report_saturated(this);
        return true;
      }
    }
  }

  // Gives a reference back. True: it was the last, and the object is the caller's to free.
  // Lock-free.
  [[nodiscard]] bool put() noexcept {
    uint32_t n = refs_.load(std::memory_order_relaxed);
    do {
      PERVMA_ASSERT_OP(n, !=, 0u);  // More puts than gets: someone's memory is already gone.
      if (P::keep(Site::ref_put_keeps_stuck) && n == kSaturated) return false;
    } while (!refs_.compare_exchange_weak(
        n, n - 1, P::order(Site::ref_put, std::memory_order_release),  // [C2] pairs with [C3]
        std::memory_order_relaxed));
    if (P::keep(Site::ref_put_tells_last) && n != 1) return false;
    // Reads this thread's own exchange, the end of the release sequence of every earlier put.
    (void)refs_.load(
        P::order(Site::ref_last_put, std::memory_order_acquire));  // [C3] pairs with [C2]
    return true;
  }

  // Brings a free object back to life with `value` references.
  void set(uint32_t value) noexcept {
    PERVMA_DASSERT_OP(refs_.load(std::memory_order_relaxed), ==, 0u);
    PERVMA_ASSERT(value >= 1 && value <= kLimit);
    refs_.store(value, P::order(Site::ref_set, std::memory_order_release));  // [C4] with [C1]
  }

  // A moment's value; for assertions and statistics.
  [[nodiscard]] uint32_t value() const noexcept { return refs_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool is_saturated() const noexcept { return value() == kSaturated; }

 private:
  typename P::template Atomic<uint32_t> refs_{0};
};

using Refcount = BasicRefcount<NativePlatform>;

}  // namespace pervma

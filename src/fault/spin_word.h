// spin_word.h: the word of a spin lock (spin_lock.h), a template over the platform.
#pragma once

#include <atomic>
#include <cstdint>

#include "sync/annotations.h"
#include "sync/platform.h"

namespace pervma {

template <class P>
class PERVMA_CAPABILITY("spin_lock") BasicSpinLock {
 public:
  BasicSpinLock() noexcept = default;
  BasicSpinLock(const BasicSpinLock&) = delete;
  BasicSpinLock& operator=(const BasicSpinLock&) = delete;

  void lock() noexcept PERVMA_ACQUIRE() {
    const uint32_t before = word_.exchange(
        1, P::order(Site::spin_take, std::memory_order_acquire));  // [P1] pairs with [P3]
    if (P::keep(Site::spin_refuses_held) && before != 0) lock_slowly();
    P::Tracker::acquired(P::Tracker::Kind::page_table, this);
  }
  void unlock() noexcept PERVMA_RELEASE() {
    P::Tracker::released(P::Tracker::Kind::page_table, this);
    word_.store(0, P::order(Site::spin_release, std::memory_order_release));  // [P3] with [P1] [P2]
  }

 private:
  void lock_slowly() noexcept {
    typename P::Spinner spinner(SpinBudget::full);
    for (;;) {
      // Polls with loads: exchanges would take the line from the holder again and again.
      while (word_.load(std::memory_order_relaxed) != 0) {
        if (!spinner.spin()) P::yield();
      }
      const uint32_t before = word_.exchange(
          1, P::order(Site::spin_take_late, std::memory_order_acquire));  // [P2] pairs with [P3]
      if (!P::keep(Site::spin_late_refuses_held) || before == 0) return;
    }
  }

  typename P::template Atomic<uint32_t> word_{0};  // 0 free, 1 held
};

}  // namespace pervma

// spin_lock.h: a four-byte lock for a few dozen instructions: page tables and the frame pool's
// caches. Waits by polling, then yielding (the holder may need this very CPU); never sleeps.
// Innermost lock: nothing that waits for another thread is done while it is held.
#pragma once

#include <sched.h>

#include <atomic>
#include <cstdint>

#include "sync/annotations.h"
#include "sync/lock_tracker.h"
#include "sync/spin.h"

namespace pervma {

class PERVMA_CAPABILITY("spin_lock") SpinLock {
 public:
  SpinLock() noexcept = default;
  SpinLock(const SpinLock&) = delete;
  SpinLock& operator=(const SpinLock&) = delete;

  void lock() noexcept PERVMA_ACQUIRE() {
    if (word_.exchange(1, std::memory_order_acquire) != 0) lock_slowly();  // [P1] pairs with [P3]
    LockTracker::acquired(LockTracker::Kind::page_table, this);
  }
  void unlock() noexcept PERVMA_RELEASE() {
    LockTracker::released(LockTracker::Kind::page_table, this);
    word_.store(0, std::memory_order_release);  // [P3] pairs with [P1] and [P2]
  }

 private:
  void lock_slowly() noexcept {
    AdaptiveSpinner spinner(SpinBudget::full);
    do {
      // Polls with loads: exchanges would take the line from the holder again and again.
      while (word_.load(std::memory_order_relaxed) != 0) {
        if (!spinner.spin()) sched_yield();
      }
    } while (word_.exchange(1, std::memory_order_acquire) != 0);  // [P2] pairs with [P3]
  }

  std::atomic<uint32_t> word_{0};  // 0 free, 1 held
};

class PERVMA_SCOPED_CAPABILITY [[nodiscard]] SpinGuard {
 public:
  explicit SpinGuard(SpinLock& lock) noexcept PERVMA_ACQUIRE(lock) : lock_(lock) { lock.lock(); }
  ~SpinGuard() PERVMA_RELEASE() { lock_.unlock(); }
  SpinGuard(const SpinGuard&) = delete;
  SpinGuard& operator=(const SpinGuard&) = delete;

 private:
  SpinLock& lock_;
};

}  // namespace pervma

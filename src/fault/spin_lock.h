// spin_lock.h: a four-byte lock for a few dozen instructions: page tables and the frame pool's
// caches. Waits by polling, then yielding (the holder may need this very CPU); never sleeps.
// Innermost lock: nothing that waits for another thread is done while it is held.
#pragma once

#include "fault/spin_word.h"
#include "sync/native_platform.h"

namespace pervma {

using SpinLock = BasicSpinLock<NativePlatform>;

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

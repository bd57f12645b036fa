// slab_lock.h: the mutex of a pool, with names that clang's thread-safety analysis knows.
// Held for a few dozen instructions per object, or for a few system calls on memory; nothing else
// is locked under it.
#pragma once

#include <mutex>

#include "sync/annotations.h"

namespace pervma {

class PERVMA_CAPABILITY("mutex") SlabLock {
 public:
  void lock() noexcept PERVMA_ACQUIRE() { mutex_.lock(); }
  void unlock() noexcept PERVMA_RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class PERVMA_SCOPED_CAPABILITY SlabLockGuard {
 public:
  explicit SlabLockGuard(SlabLock& lock) noexcept PERVMA_ACQUIRE(lock) : lock_(lock) {
    lock_.lock();
  }
  ~SlabLockGuard() PERVMA_RELEASE() { lock_.unlock(); }
  SlabLockGuard(const SlabLockGuard&) = delete;
  SlabLockGuard& operator=(const SlabLockGuard&) = delete;

 private:
  SlabLock& lock_;
};

}  // namespace pervma

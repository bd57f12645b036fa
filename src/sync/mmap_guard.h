// mmap_guard.h: holding the mmap lock, as objects. Both are move-only and are released by the
// thread that made them; an empty (moved-from) guard holds nothing.
//
// Clang's analysis follows a guard made by its constructor. A guard that came out of an optional or
// a move it does not follow: state the hold with lock.assert_held() or assert_held_write(), which
// debug builds also check.
#pragma once

#include <optional>
#include <utility>

#include "sync/mmap_lock.h"

namespace pervma {

template <class P>
class BasicMmapWrite;

template <class P>
class PERVMA_SCOPED_CAPABILITY [[nodiscard]] BasicMmapRead {
 public:
  using Lock = BasicMmapLock<P>;

  // Waits for the writers in front.
  explicit BasicMmapRead(Lock& lock) noexcept PERVMA_ACQUIRE_SHARED(lock) : lock_(&lock) {
    lock.lock_read();
  }
  ~BasicMmapRead() PERVMA_RELEASE() { unlock(); }
  BasicMmapRead(BasicMmapRead&& other) noexcept PERVMA_NO_ANALYSIS
      : lock_(std::exchange(other.lock_, nullptr)) {}
  BasicMmapRead& operator=(BasicMmapRead&& other) noexcept PERVMA_NO_ANALYSIS {
    unlock();
    lock_ = std::exchange(other.lock_, nullptr);
    return *this;
  }

  // Never waits.
  [[nodiscard]] static std::optional<BasicMmapRead> try_lock(Lock& lock) noexcept
      PERVMA_NO_ANALYSIS {
    if (!lock.try_lock_read()) return std::nullopt;
    return BasicMmapRead(&lock, Adopt{});
  }
  // Nothing when a stop was requested before the lock was there (EINTR).
  [[nodiscard]] static std::optional<BasicMmapRead> lock_killable(
      Lock& lock, const typename P::StopToken& stop) noexcept PERVMA_NO_ANALYSIS {
    if (!lock.lock_read(stop)) return std::nullopt;
    return BasicMmapRead(&lock, Adopt{});
  }

  [[nodiscard]] bool holds(const Lock& lock) const noexcept { return lock_ == &lock; }

 private:
  struct Adopt {};
  BasicMmapRead(Lock* lock, Adopt) noexcept PERVMA_NO_ANALYSIS : lock_(lock) {}
  void unlock() noexcept PERVMA_NO_ANALYSIS {
    if (lock_ != nullptr) std::exchange(lock_, nullptr)->unlock_read();
  }

  Lock* lock_;

  template <class Q>
  friend BasicMmapRead<Q> downgrade(BasicMmapWrite<Q>&& write) noexcept;
};

template <class P>
class PERVMA_SCOPED_CAPABILITY [[nodiscard]] BasicMmapWrite {
 public:
  using Lock = BasicMmapLock<P>;

  // Waits for everybody in front.
  explicit BasicMmapWrite(Lock& lock) noexcept PERVMA_ACQUIRE(lock) : lock_(&lock) {
    lock.lock_write();
  }
  // Ends every VMA write lock of the space.
  ~BasicMmapWrite() PERVMA_RELEASE() { unlock(); }
  BasicMmapWrite(BasicMmapWrite&& other) noexcept PERVMA_NO_ANALYSIS
      : lock_(std::exchange(other.lock_, nullptr)) {}
  BasicMmapWrite& operator=(BasicMmapWrite&& other) noexcept PERVMA_NO_ANALYSIS {
    unlock();
    lock_ = std::exchange(other.lock_, nullptr);
    return *this;
  }

  // Nothing when a stop was requested before the lock was there (EINTR).
  [[nodiscard]] static std::optional<BasicMmapWrite> lock(
      Lock& lock, const typename P::StopToken& stop) noexcept PERVMA_NO_ANALYSIS {
    if (!lock.lock_write(stop)) return std::nullopt;
    return BasicMmapWrite(&lock, Adopt{});
  }

  [[nodiscard]] bool holds(const Lock& lock) const noexcept { return lock_ == &lock; }

 private:
  struct Adopt {};
  BasicMmapWrite(Lock* lock, Adopt) noexcept PERVMA_NO_ANALYSIS : lock_(lock) {}
  void unlock() noexcept PERVMA_NO_ANALYSIS {
    if (lock_ != nullptr) std::exchange(lock_, nullptr)->unlock_write();
  }

  Lock* lock_;

  template <class Q>
  friend BasicMmapRead<Q> downgrade(BasicMmapWrite<Q>&& write) noexcept;
};

// Write -> read, with no writer in between. Ends every VMA write lock. Never waits.
template <class P>
[[nodiscard]] BasicMmapRead<P> downgrade(BasicMmapWrite<P>&& write) noexcept PERVMA_NO_ANALYSIS {
  auto* lock = std::exchange(write.lock_, nullptr);
  PERVMA_ASSERT(lock != nullptr);
  lock->downgrade();
  return BasicMmapRead<P>(lock, typename BasicMmapRead<P>::Adopt{});
}

using MmapRead = BasicMmapRead<NativePlatform>;
using MmapWrite = BasicMmapWrite<NativePlatform>;

}  // namespace pervma

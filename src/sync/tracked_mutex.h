// tracked_mutex.h: a mutex that debug builds know the place of in the lock order.
#pragma once

#include <mutex>
#include <thread>

#include "sync/lock_tracker.h"

namespace pervma {

// Its kind is said when it is made.
class KindMutex {
 public:
  explicit KindMutex(LockTracker::Kind kind) noexcept : kind_(kind) {}

  void lock() noexcept {
    LockTracker::about_to_wait_for(kind_, this);
    mutex_.lock();
    LockTracker::acquired(kind_, this);
  }
  [[nodiscard]] bool try_lock() noexcept {
    if (!mutex_.try_lock()) return false;
    LockTracker::acquired(kind_, this);
    return true;
  }
  // For who takes many of a kind, in whatever order, and keeps others who do so away: a wait that
  // checkers of lock orders do not mistake for one of a circle.
  void lock_one_of_many() noexcept {
    LockTracker::about_to_wait_for(kind_, this);
    while (!try_lock()) std::this_thread::yield();
  }
  void unlock() noexcept {
    LockTracker::released(kind_, this);
    mutex_.unlock();
  }

 private:
  std::mutex mutex_;
  const LockTracker::Kind kind_;
};

template <LockTracker::Kind kKind>
class TrackedMutex : public KindMutex {
 public:
  TrackedMutex() noexcept : KindMutex(kKind) {}
};

}  // namespace pervma

// tracked_mutex.h: a mutex that debug builds know the place of in the lock order.
#pragma once

#include <mutex>

#include "sync/lock_tracker.h"

namespace pervma {

template <LockTracker::Kind kKind>
class TrackedMutex {
 public:
  void lock() noexcept {
    LockTracker::about_to_wait_for(kKind, this);
    mutex_.lock();
    LockTracker::acquired(kKind, this);
  }
  void unlock() noexcept {
    LockTracker::released(kKind, this);
    mutex_.unlock();
  }

 private:
  std::mutex mutex_;
};

}  // namespace pervma

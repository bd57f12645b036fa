// range_platform.h: what the lock protocols take from their surroundings when they serve a
// RangeMap.
//
// There is no lock tracker: HeldMaps knows in every build what a thread holds, and a guard of one
// map does not forbid to wait for another map's lock. And a range may be retired: its last reader
// owns it.
#pragma once

#include "sync/mmap_lock.h"
#include "sync/native_platform.h"
#include "sync/vma_lock_refcount.h"

namespace pervma {

struct NoTracker {
  enum class Kind : uint8_t { mmap_read, mmap_write, vma_read };
  static void acquired(Kind, const void*) noexcept {}
  static void released(Kind, const void*) noexcept {}
  static void downgraded(const void*) noexcept {}
  static void about_to_wait_for_mmap_lock(const void*) noexcept {}
  static void about_to_drain_vma(const void*) noexcept {}
  static void assert_held(Kind, const void*) noexcept {}
  [[nodiscard]] static bool may_hold(Kind, const void*) noexcept { return true; }
};

// The count of the retired range that this thread was the last to leave, until it has dealt with
// it: at once, but not inside the RCU section in which a reader backs out.
inline constinit thread_local std::atomic<uint32_t>* t_last_out = nullptr;

struct RangePlatform : NativePlatform {
  using Tracker = NoTracker;
  static void last_out(Atomic<uint32_t>& count) noexcept { t_last_out = &count; }
};

extern template class BasicMmapLock<RangePlatform>;

}  // namespace pervma

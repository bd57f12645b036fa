// native_platform.h: the platform that pervma runs on: std::atomic, futexes, liburcu.
#pragma once

#include <sched.h>

#include <atomic>
#include <cstdint>
#include <stop_token>

#include "sync/futex.h"
#include "sync/lock_tracker.h"
#include "sync/platform.h"
#include "sync/rcu.h"
#include "sync/spin.h"

namespace pervma {

struct NativePlatform {
  template <class T>
  using Atomic = std::atomic<T>;
  // A field without atomicity: what a checker watches for races.
  template <class T>
  using Plain = T;
  using StopToken = std::stop_token;
  using Sleeper = FutexSleeper;
  using Spinner = AdaptiveSpinner;
  using Tracker = LockTracker;
  using RcuRead = RcuReader;

  // Every site as it is written (site.h).
  static constexpr std::memory_order order(Site, std::memory_order order) noexcept { return order; }
  static constexpr bool keep(Site) noexcept { return true; }

  static void fence(std::memory_order order) noexcept { std::atomic_thread_fence(order); }

  // Sleep until woken, by address. `wait` may return for nothing; wakes never dereference.
  static void wait(const Atomic<uint32_t>& word, uint32_t expected) noexcept {
    futex_wait(word, expected);
  }
  static void wake_one(const Atomic<uint32_t>* word) noexcept { futex_wake_one(word); }
  static void wake_all(const Atomic<uint32_t>* word) noexcept { futex_wake_all(word); }

  static void synchronize_rcu() noexcept { rcu_synchronize(); }

  // Lets somebody else run, where polling is all there is to do.
  static void yield() noexcept { sched_yield(); }

  static uint64_t now_ns() noexcept { return monotonic_ns(); }

  static void hook(Hook) noexcept {}

  // A count reached its limit: the object is leaked from now on. One line on stderr.
  static void report_saturated(const void* object) noexcept;
};

}  // namespace pervma

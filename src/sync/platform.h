// platform.h: everything the lock protocols take from their surroundings, as one template
// parameter.
//
// The protocol classes are written as `template <class P> class BasicX`, with X = BasicX<
// NativePlatform>. A model checker brings a platform of its own with the same names; a test derives
// from NativePlatform and replaces hook() to force a schedule. Orders are std::memory_order
// constants everywhere: a checker's Atomic maps them to its own.
#pragma once

#include <sched.h>

#include <atomic>
#include <cstdint>
#include <stop_token>

#include "sync/futex.h"
#include "sync/lock_tracker.h"
#include "sync/rcu.h"
#include "sync/spin.h"

namespace pervma {

// The places in the protocols where a test may hold a thread to let another one run.
enum class Hook : uint8_t {
  read_before_increment,  // count loaded, exchange not yet tried
  read_after_increment,   // count raised, owner and sequence not yet compared
  read_before_wake,       // count lowered to the writer's value, sleeper not yet woken
  write_after_exclude,    // kExclude added, readers not yet drained
  write_before_sleep,     // the writer saw a reader and is about to sleep
  write_before_abort,     // a stop was seen, kExclude not yet taken back
  detach_before_exclude,  // the count was not 1, kExclude not yet added
  detach_after_exclude,   // kExclude added, readers not yet drained
  queue_after_push,       // a waiter is in the queue of an mmap lock
  queue_before_grant,     // the last holder left, the next is not yet chosen
  queue_before_cancel,    // a waiter saw its stop, and has not yet left the queue
};

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

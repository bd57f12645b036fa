// native_platform.h: the platform that pervma runs on: std::atomic, futexes, liburcu.
#pragma once

#include <sched.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <stop_token>

#include "sync/current_cpu.h"
#include "sync/futex.h"
#include "sync/jitter.h"
#include "sync/lock_tracker.h"
#include "sync/platform.h"
#include "sync/probes.h"
#include "sync/rcu.h"
#include "sync/spin.h"

namespace pervma {

struct NativePlatform {
  template <class T>
  using Atomic = std::atomic<T>;
  // A field without atomicity: what a checker watches for races.
  template <class T>
  using Plain = T;
  // A count for statistics, by which nothing is decided.
  template <class T>
  using Counter = std::atomic<T>;
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
  // Runs the callback after a grace period; what this thread wrote before is visible to it.
  using RcuHead = rcu_head;
  static void call_rcu(RcuHead* head, void (*callback)(RcuHead* head)) noexcept {
    pervma::call_rcu(head, callback);
  }
  // To be said at a callback's beginning and end (rcu.h).
  static void rcu_callback_begins(const RcuHead* head) noexcept {
    pervma::rcu_callback_begins(head);
  }
  static void rcu_callback_ends() noexcept { pervma::rcu_callback_ends(); }

  // Null: no memory. Any thread, inside an RCU read section too.
  static void* allocate(size_t bytes, size_t alignment) noexcept;
  static void deallocate(void* memory) noexcept;

  // A hint of the CPU that this thread is on, and a power of two of slots to spread CPUs over.
  static uint32_t current_cpu() noexcept { return pervma::current_cpu(); }
  static uint32_t cpu_slots() noexcept { return pervma::cpu_slots(); }
  // When a VMA becomes hot and stays it (vma_lock_scalable.h, slot_array.h).
  static constexpr uint32_t kFailuresToPromote = 64;
  static constexpr uint32_t kUsesToStay = 8;

  // Lets somebody else run, where polling is all there is to do.
  static void yield() noexcept { sched_yield(); }

  static uint64_t now_ns() noexcept { return monotonic_ns(); }

  static void hook(Hook) noexcept { jitter_hook(); }

  static void probe(Probe probe, const void* lock) noexcept {
    switch (probe) {
      case Probe::mmap_wait: PERVMA_PROBE(mmap_wait, lock, 0); break;
      case Probe::writer_wait_begin: PERVMA_PROBE(writer_wait_begin, lock, 0); break;
      case Probe::writer_wait_end: PERVMA_PROBE(writer_wait_end, lock, 0); break;
    }
  }

  // A count reached its limit: the object is leaked from now on. One line on stderr.
  static void report_saturated(const void* object) noexcept;
};

}  // namespace pervma

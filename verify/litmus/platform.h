// platform.h: the platform of the plain harnesses: std::atomic and polling, for a stateless model
// checker of C11 atomics that compiles them itself.
//
// Each harness is a main() with at most three threads and bounded work, on pthreads, and compiles
// alone: clang++-16 -std=c++20 -I include -I src verify/litmus/x.cpp -lpthread. A waiter polls here
// instead of sleeping (a checker cuts such loops), so a lost wake-up is not seen: that is Relacy's
// part. There is no RCU either: nothing is freed, so nothing is found dead. With
// -DPERVMA_MUTANT=SITE one site of src/sync/site.h is broken; the comment on top of a harness names
// those that it must catch (verify/explore_litmus).
#pragma once

#include <assert.h>
#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sync/platform.h"

#ifndef PERVMA_MUTANT
#define PERVMA_MUTANT none
#endif

namespace pervma {
namespace detail {
[[noreturn]] inline void assert_fail(const char*, int, const char*) noexcept {
  assert(false);
  __builtin_unreachable();
}
[[noreturn]] inline void assert_fail_values(const char*, int, const char*, uint64_t,
                                            uint64_t) noexcept {
  assert(false);
  __builtin_unreachable();
}
}  // namespace detail

// Stopped when the flag is set, where there is one.
struct LitmusStop {
  const std::atomic<uint32_t>* flag = nullptr;
  bool stop_requested() const {
    return flag != nullptr && flag->load(std::memory_order_relaxed) != 0;
  }
  bool stop_possible() const { return flag != nullptr; }
};

// Sleeps until the word is another: every loop around it ends when the others are done.
struct LitmusSleeper {
  const std::atomic<uint32_t>& word;
  const LitmusStop& stop;
  LitmusSleeper(const std::atomic<uint32_t>& w, const LitmusStop& s) : word(w), stop(s) {}
  bool sleep(uint32_t value) {
    while (word.load(std::memory_order_relaxed) == value) {
      if (stop.stop_requested()) return false;
    }
    return true;
  }
};

struct LitmusRcuRead {};

namespace litmus {

// Main is 0.
inline constexpr uint32_t kThreads = 4;
inline thread_local uint32_t this_thread = 0;

// The CPU that the thread is on: a body that cares says its own.
inline thread_local uint32_t this_cpu = 0;

// What a thread allocates. No room is used twice, as nothing is freed.
inline constexpr size_t kRoom = 512;
inline constexpr uint32_t kRooms = 2;
struct alignas(64) Room {
  char bytes[kRoom];
};
inline Room rooms[kThreads][kRooms];
inline thread_local uint32_t rooms_taken = 0;

}  // namespace litmus

struct LitmusSpinner {
  explicit LitmusSpinner(SpinBudget) {}
  bool spin() { return false; }
  bool is_yielding() const { return true; }
};

struct LitmusTracker {
  enum class Kind : uint8_t { mmap_read, mmap_write, vma_read };
  static void acquired(Kind, const void*) {}
  static void released(Kind, const void*) {}
  static void downgraded(const void*) {}
  static void about_to_wait_for_mmap_lock(const void*) {}
  static void about_to_drain_vma(const void*) {}
  static void assert_held(Kind, const void*) {}
  static bool may_hold(Kind, const void*) { return true; }
};

struct LitmusPlatform {
  template <class T>
  using Atomic = std::atomic<T>;
  template <class T>
  using Plain = T;
  template <class T>
  using Counter = std::atomic<T>;
  using StopToken = LitmusStop;
  using Sleeper = LitmusSleeper;
  using Spinner = LitmusSpinner;
  using Tracker = LitmusTracker;
  using RcuRead = LitmusRcuRead;
  struct RcuHead {};

  static constexpr Site kBroken = Site::PERVMA_MUTANT;
  static constexpr std::memory_order order(Site site, std::memory_order order) noexcept {
    return kBroken != Site::none && site == kBroken ? std::memory_order_relaxed : order;
  }
  static constexpr bool keep(Site site) noexcept {
    return kBroken == Site::none || site != kBroken;
  }
  static void fence(std::memory_order order) noexcept { std::atomic_thread_fence(order); }
  static void wait(const Atomic<uint32_t>&, uint32_t) noexcept {}
  static void wake_one(const Atomic<uint32_t>*) noexcept {}
  static void wake_all(const Atomic<uint32_t>*) noexcept {}
  static void call_rcu(RcuHead*, void (*)(RcuHead*)) noexcept {}
  static void rcu_callback_begins(const RcuHead*) noexcept {}
  static void rcu_callback_ends() noexcept {}
  static void* allocate(size_t bytes, size_t) noexcept {
    assert(bytes <= litmus::kRoom && litmus::rooms_taken < litmus::kRooms);
    return litmus::rooms[litmus::this_thread][litmus::rooms_taken++].bytes;
  }
  static void deallocate(void*) noexcept {}
  static uint32_t current_cpu() noexcept { return litmus::this_cpu; }
  static uint32_t cpu_slots() noexcept { return 2; }
  static constexpr uint32_t kFailuresToPromote = 1;
  static constexpr uint32_t kUsesToStay = 1;
  static void yield() noexcept {}
  static uint64_t now_ns() noexcept { return 0; }
  static void hook(Hook) noexcept {}
  static void report_saturated(const void*) noexcept {}
};

namespace litmus {

template <class Body, uint32_t kNumber>
void* thread(void*) {
  this_thread = kNumber;
  Body{}();
  return nullptr;
}

// Runs two or three bodies at once, lambdas that capture nothing, and waits for them.
template <class A, class B>
void run(A, B) {
  pthread_t a, b;
  pthread_create(&a, nullptr, thread<A, 1>, nullptr);
  pthread_create(&b, nullptr, thread<B, 2>, nullptr);
  pthread_join(a, nullptr);
  pthread_join(b, nullptr);
}
template <class A, class B, class C>
void run(A, B, C) {
  pthread_t a, b, c;
  pthread_create(&a, nullptr, thread<A, 1>, nullptr);
  pthread_create(&b, nullptr, thread<B, 2>, nullptr);
  pthread_create(&c, nullptr, thread<C, 3>, nullptr);
  pthread_join(a, nullptr);
  pthread_join(b, nullptr);
  pthread_join(c, nullptr);
}

}  // namespace litmus
}  // namespace pervma

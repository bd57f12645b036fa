// hooked_platform.h: platforms for tests: one whose hooks a thread can set for itself, and one that
// never spins, so that every wait really sleeps.
#pragma once

#include <functional>
#include <utility>

#include "sync/mmap_lock_slow.h"
#include "sync/native_platform.h"
#include "sync/vma_lock_designs.h"

namespace pervma::test {

// Called at every hook of the protocols that this thread passes.
inline thread_local std::function<void(Hook)> t_on_hook;

struct SleepingSpinner {
  explicit SleepingSpinner(SpinBudget) noexcept {}
  [[nodiscard]] bool spin() noexcept { return false; }
  [[nodiscard]] bool is_yielding() const noexcept { return false; }
};

// The CPU that this thread says it is on, and whether it finds memory.
inline thread_local uint32_t t_cpu = 0;
inline thread_local bool t_has_memory = true;

struct HookedPlatform : NativePlatform {
  using Spinner = SleepingSpinner;
  static uint32_t current_cpu() noexcept { return t_cpu; }
  static uint32_t cpu_slots() noexcept { return 4; }
  static void* allocate(size_t bytes, size_t alignment) noexcept {
    return t_has_memory ? NativePlatform::allocate(bytes, alignment) : nullptr;
  }
  static void hook(Hook hook) noexcept {
    if (t_on_hook) t_on_hook(hook);
  }
};

// Sets this thread's hook while it lives. Inside, the hook itself is off.
class OnHook {
 public:
  OnHook(Hook at, std::function<void()> action) {
    t_on_hook = [at, action = std::move(action)](Hook hook) {
      if (hook != at) return;
      auto mine = std::exchange(t_on_hook, nullptr);
      action();
      t_on_hook = std::move(mine);
    };
  }
  ~OnHook() { t_on_hook = nullptr; }
  OnHook(const OnHook&) = delete;
  OnHook& operator=(const OnHook&) = delete;
};

// Clang's analysis follows one thread through one function; these schedules are of several threads,
// spread over closures. The lock's own debug checks are on instead.
class HookedMmapLock : public BasicMmapLock<HookedPlatform> {
  using Base = BasicMmapLock<HookedPlatform>;

 public:
  void lock_read() noexcept PERVMA_NO_ANALYSIS { Base::lock_read(); }
  [[nodiscard]] bool lock_read(const std::stop_token& stop) noexcept PERVMA_NO_ANALYSIS {
    return Base::lock_read(stop);
  }
  [[nodiscard]] bool try_lock_read() noexcept PERVMA_NO_ANALYSIS { return Base::try_lock_read(); }
  void unlock_read() noexcept PERVMA_NO_ANALYSIS { Base::unlock_read(); }
  void lock_write() noexcept PERVMA_NO_ANALYSIS { Base::lock_write(); }
  [[nodiscard]] bool lock_write(const std::stop_token& stop) noexcept PERVMA_NO_ANALYSIS {
    return Base::lock_write(stop);
  }
  void unlock_write() noexcept PERVMA_NO_ANALYSIS { Base::unlock_write(); }
  void downgrade() noexcept PERVMA_NO_ANALYSIS { Base::downgrade(); }
};
using HookedRefcountLock = BasicRefcountLock<HookedPlatform>;

}  // namespace pervma::test

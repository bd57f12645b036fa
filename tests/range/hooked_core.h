// hooked_core.h: a RangeMap's core on a platform whose hooks a test sets, with values of one word.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "range/range_check.h"
#include "range/range_core.h"
#include "range/range_lifecycle.h"
#include "range/range_lookup.h"
#include "range/range_writer.h"
#include "sync/mmap_lock_slow.h"

namespace pervma::test {

inline thread_local std::function<void(Hook)> t_range_hook;

struct NoSpin {
  explicit NoSpin(SpinBudget) noexcept {}
  [[nodiscard]] bool spin() noexcept { return false; }
  [[nodiscard]] bool is_yielding() const noexcept { return false; }
};

struct HookedRangePlatform : RangePlatform {
  using Spinner = NoSpin;
  static void hook(Hook hook) noexcept {
    if (t_range_hook) t_range_hook(hook);
  }
};

// Sets this thread's hook for one passage, while it lives.
class OnRangeHook {
 public:
  OnRangeHook(Hook at, std::function<void()> action) {
    t_range_hook = [at, action = std::move(action)](Hook hook) {
      if (hook != at) return;
      const auto once = std::exchange(t_range_hook, nullptr);
      action();
    };
  }
  ~OnRangeHook() { t_range_hook = nullptr; }
  OnRangeHook(const OnRangeHook&) = delete;
  OnRangeHook& operator=(const OnRangeHook&) = delete;
};

class HookedCore {
 public:
  using Core = BasicRangeCore<HookedRangePlatform>;
  using Cell = Core::Cell;

  explicit HookedCore(detail::RangeValueOps ops = word_ops())
      : core_(Core::create(ops, {.fail = nullptr, .context = nullptr})) {}

  static detail::RangeValueOps word_ops() {
    return {.words = 1,
            .destroy = nullptr,
            .may_merge = nullptr,
            .rule = nullptr,
            .retired = nullptr,
            .context = nullptr};
  }

  Core* operator->() const { return core_.get(); }
  int insert(uint64_t start, uint64_t end, uint64_t value) const {
    Cell* const cell = core_->make();
    cell->words()[0].store(value, std::memory_order_relaxed);
    return core_->insert(cell, range(start, end), {});
  }
  int insert_alone(uint64_t start, uint64_t end, uint64_t value) const {
    if (core_->begin_write({}) != 0) return EDEADLK;
    const int error = insert(start, end, value);
    core_->end_write();
    return error;
  }
  int erase_alone(uint64_t at, const std::stop_token& stop = {}) const {
    size_t count = 0;
    if (core_->begin_write({}) != 0) return EDEADLK;
    const int error = core_->erase(range(at, at + 1), stop, &count);
    core_->end_write();
    return error;
  }
  int retire_alone(uint64_t at) const {
    size_t count = 0;
    if (core_->begin_write({}) != 0) return EDEADLK;
    const int error = core_->retire(range(at, at + 1), &count);
    core_->end_write();
    return error;
  }
  static Range range(uint64_t start, uint64_t end) { return {Address{start}, Address{end}}; }

 private:
  std::unique_ptr<Core> core_;
};

}  // namespace pervma::test

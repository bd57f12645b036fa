// range_guard.h: holding one range of a RangeMap.
//
// While it is held the range is not split, merged, changed or erased: a writer that wants to waits.
// It may be retired: then it is no longer in the map, and stays what it is for its holders.
#pragma once

#include <type_traits>
#include <utility>

#include "pervma/address.h"
#include "pervma/detail/range_core.h"
#include "pervma/detail/range_value.h"

namespace pervma {

enum class RangeRelease : uint8_t {
  by_its_thread,  // RangeGuard: found and released by one thread, which the map knows to hold it
  by_any_thread,  // RangeHold: handed over; the map does not know who holds it
};

template <class Value, RangeRelease kRelease>
class [[nodiscard]] BasicRangeGuard {
  using Stored = detail::RangeValue<Value>;

 public:
  using View = typename Stored::View;

  BasicRangeGuard() noexcept = default;
  // From the map only.
  BasicRangeGuard(detail::RangeCore* core, detail::RangeHandle* range) noexcept
      : core_(core), range_(range) {}
  BasicRangeGuard(BasicRangeGuard&& other) noexcept
      : core_(other.core_), range_(std::exchange(other.range_, nullptr)) {}
  BasicRangeGuard& operator=(BasicRangeGuard&& other) noexcept {
    if (this != &other) {
      release();
      core_ = other.core_;
      range_ = std::exchange(other.range_, nullptr);
    }
    return *this;
  }
  ~BasicRangeGuard() { release(); }

  explicit operator bool() const noexcept { return range_ != nullptr; }

  // Not of an empty guard.
  Range range() const noexcept { return detail::RangeCore::bounds(range_); }
  // A copy of a trivially copyable value of up to 64 bytes, else a reference.
  View value() const noexcept { return Stored::get(detail::range_storage(range_)); }
  View operator*() const noexcept { return value(); }
  auto operator->() const noexcept {
    if constexpr (std::is_reference_v<View>) {
      return &value();
    } else {
      struct Arrow {
        Value copy;
        const Value* operator->() const noexcept { return &copy; }
      };
      return Arrow{value()};
    }
  }

  // Ends the hold; the guard is empty. Wait-free, about 8 ns; the last to leave a retired range
  // runs the map's hook and destroys the value.
  void release() noexcept {
    if (range_ == nullptr) return;
    if constexpr (kRelease == RangeRelease::by_its_thread) {
      core_->unpin(std::exchange(range_, nullptr));
    } else {
      core_->drop(std::exchange(range_, nullptr));
    }
  }

  // Makes it a hold that any thread may release. The map no longer knows that this thread holds the
  // range, so it can no longer answer EDEADLK where the thread would wait for itself: what is held
  // in this way should be retired rather than erased.
  [[nodiscard]] BasicRangeGuard<Value, RangeRelease::by_any_thread> hand_over() && noexcept
    requires(kRelease == RangeRelease::by_its_thread)
  {
    if (range_ != nullptr) core_->hand_over(range_);
    return {core_, std::exchange(range_, nullptr)};
  }

 private:
  detail::RangeCore* core_ = nullptr;
  detail::RangeHandle* range_ = nullptr;
};

// Move-only; released by the thread that found the range, in any order, before the map is
// destroyed.
template <class Value>
using RangeGuard = BasicRangeGuard<Value, RangeRelease::by_its_thread>;
// Move-only; released by any thread, before the map is destroyed.
template <class Value>
using RangeHold = BasicRangeGuard<Value, RangeRelease::by_any_thread>;

// A range and a copy of its value.
template <class Value>
struct RangeEntry {
  Range range;
  Value value;
};

enum class RangeTry : uint8_t {
  found,
  nothing,    // no range holds the address
  contended,  // a writer is, or may be, in the way: try again, or wait by find()
};

}  // namespace pervma

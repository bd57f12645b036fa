// racy.h: a field that is read without a lock, copied, and used only after validation.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <type_traits>

#include "sync/platform.h"

namespace pervma {

// Reads like a T and is assigned like one. Relaxed loads: a copy means nothing before its
// validation (MmapLock::speculate_retry). Release stores: a reader that copies the value of the
// memory's next life sees, after its fence, that the sequence has moved since the last one; the
// fence of that life's own write hold may have come before it got the memory.
template <class P, class T>
class BasicRacy {
  static constexpr auto kBytes = sizeof(T);  // NOLINT(bugprone-sizeof-expression): maybe a pointer
  static_assert(std::is_trivially_copyable_v<T> && (kBytes == 4 || kBytes == 8));
  using Bits = std::conditional_t<kBytes == 4, uint32_t, uint64_t>;

 public:
  BasicRacy() noexcept = default;
  BasicRacy(const BasicRacy& other) noexcept : bits_(other.bits_.load(std::memory_order_relaxed)) {}
  BasicRacy& operator=(const BasicRacy& other) noexcept { return *this = static_cast<T>(other); }
  BasicRacy& operator=(T value) noexcept {
    bits_.store(std::bit_cast<Bits>(value),
                P::order(Site::racy_store, std::memory_order_release));  // [V3] pairs with [S6]
    return *this;
  }
  operator T() const noexcept {  // NOLINT(google-explicit-constructor): it stands for a T.
    return std::bit_cast<T>(bits_.load(std::memory_order_relaxed));
  }
  T operator->() const noexcept
    requires std::is_pointer_v<T>
  {
    return *this;
  }

 private:
  typename P::template Atomic<Bits> bits_{0};
};

template <class T>
using Racy = BasicRacy<NativePlatform, T>;

}  // namespace pervma

// assert.h: two grades of assertion. PERVMA_ASSERT is always on; PERVMA_DASSERT is on with
// PERVMA_DEBUG_CHECKS (dev, asan and tsan presets) and still compiles, unevaluated, in release.
// The comparing forms print both operands. A failed assertion prints one line and aborts.
#pragma once

#include <cstdint>
#include <type_traits>

namespace pervma {

#if defined(PERVMA_DEBUG_CHECKS) && PERVMA_DEBUG_CHECKS
inline constexpr bool kDebugChecks = true;
#else
inline constexpr bool kDebugChecks = false;
#endif

namespace detail {

// Prints "FILE:LINE: assertion failed: TEXT" to stderr and aborts.
[[noreturn]] void assert_fail(const char* file, int line, const char* text) noexcept;
// The same, with " (LHS vs RHS)" in hexadecimal and decimal.
[[noreturn]] void assert_fail_values(const char* file, int line, const char* text, uint64_t lhs,
                                     uint64_t rhs) noexcept;

template <class T>
uint64_t assert_value(const T& v) noexcept {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<uint64_t>(v);
  } else if constexpr (requires { v.value; }) {
    return static_cast<uint64_t>(v.value);
  } else if constexpr (std::is_null_pointer_v<T>) {
    return 0;
  } else {
    return static_cast<uint64_t>(v);
  }
}

}  // namespace detail
}  // namespace pervma

#define PERVMA_ASSERT(cond) \
  ((cond) ? void(0) : ::pervma::detail::assert_fail(__FILE__, __LINE__, #cond))

// PERVMA_ASSERT_OP(a, <=, b)
#define PERVMA_ASSERT_OP(a, op, b)                                                        \
  ((a)op(b) ? void(0)                                                                     \
            : ::pervma::detail::assert_fail_values(__FILE__, __LINE__, #a " " #op " " #b, \
                                                   ::pervma::detail::assert_value(a),     \
                                                   ::pervma::detail::assert_value(b)))

#define PERVMA_DASSERT(cond) (!::pervma::kDebugChecks || (cond) ? void(0) : PERVMA_ASSERT(cond))
#define PERVMA_DASSERT_OP(a, op, b) \
  (!::pervma::kDebugChecks || ((a)op(b)) ? void(0) : PERVMA_ASSERT_OP(a, op, b))

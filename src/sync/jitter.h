// jitter.h: random delays at the hooks of the lock protocols, so that threads meet in the middle of
// them even where there are few CPUs. In builds with debug checks only; elsewhere hooks are empty.
#pragma once

#include "sync/assert.h"

namespace pervma {

namespace detail {
// Passes a moment now and then while a JitterScope lives.
void jitter() noexcept;
}  // namespace detail

inline void jitter_hook() noexcept {
  if constexpr (kDebugChecks) detail::jitter();
}

// While it lives, one in `one_in` hooks of all threads gives its CPU away or sleeps for some
// microseconds. One at a time.
class JitterScope {
 public:
  explicit JitterScope(unsigned one_in) noexcept;
  ~JitterScope();
  JitterScope(const JitterScope&) = delete;
  JitterScope& operator=(const JitterScope&) = delete;
};

}  // namespace pervma

// call_stack.h: where a thread is, as return addresses, cheap enough to be kept for every lock that
// a debug build takes: the chain of frame pointers, which pervma is built with.
#pragma once

#include <array>
#include <cstdint>

#include "sync/assert.h"

namespace pervma {

class CallStack {
 public:
  // From the caller outwards. Stops where code without frame pointers begins.
  static CallStack here() noexcept;
  // One line per frame on stderr, "PROGRAM(SYMBOL+OFFSET) [ADDRESS]" as far as it is known.
  void print() const noexcept;
  uint32_t depth() const noexcept { return depth_; }

 private:
  static constexpr uint32_t kFrames = kDebugChecks ? 12 : 1;
  std::array<void*, kFrames> frames_{};
  uint32_t depth_ = 0;
};

}  // namespace pervma

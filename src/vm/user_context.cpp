#include "vm/user_context.h"

#include <array>
#include <atomic>
#include <mutex>

namespace pervma {

namespace {

constexpr uint32_t kNumbers = 4096;  // 0 is none

struct Numbers {
  std::mutex mutex;  // for taking and giving back; a leaf
  uint32_t last = 0;
  std::array<std::atomic<UserContext*>, kNumbers> contexts{};
};
constinit Numbers s_numbers;

}  // namespace

// Relaxed: the number came from the context's maker, or through the lock of a VMA that has it.
UserContext* UserContext::with_number(uint32_t number) noexcept {
  return s_numbers.contexts[number].load(std::memory_order_relaxed);
}

uint32_t UserContext::take_number(UserContext* context) noexcept {
  const std::scoped_lock lock(s_numbers.mutex);
  for (uint32_t tried = 1; tried < kNumbers; ++tried) {
    s_numbers.last = s_numbers.last % (kNumbers - 1) + 1;
    std::atomic<UserContext*>& place = s_numbers.contexts[s_numbers.last];
    if (place.load(std::memory_order_relaxed) != nullptr) continue;
    place.store(context, std::memory_order_relaxed);
    return s_numbers.last;
  }
  return 0;
}

UserContext::~UserContext() {
  if (number_ == 0) return;
  const std::scoped_lock lock(s_numbers.mutex);
  s_numbers.contexts[number_].store(nullptr, std::memory_order_relaxed);
}

}  // namespace pervma

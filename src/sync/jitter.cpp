#include "sync/jitter.h"

#include <sched.h>
#include <time.h>

#include <atomic>
#include <cstdint>

namespace pervma {

namespace {

// A switch of debug builds, not state of any engine.
std::atomic<uint32_t> jitter_one_in{0};

}  // namespace

namespace detail {

void jitter() noexcept {
  const uint32_t one_in = jitter_one_in.load(std::memory_order_relaxed);
  if (one_in == 0) return;
  thread_local uint64_t state = reinterpret_cast<uintptr_t>(&state) | 1;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  const uint64_t pick = (state >> 20) % (uint64_t{one_in} * 8);
  if (pick == 0) {
    const timespec some_us{.tv_sec = 0, .tv_nsec = static_cast<long>((state >> 40) % 50'000)};
    nanosleep(&some_us, nullptr);
  } else if (pick < 8) {
    sched_yield();
  }
}

}  // namespace detail

JitterScope::JitterScope(unsigned one_in) noexcept {
  jitter_one_in.store(one_in, std::memory_order_relaxed);
}

JitterScope::~JitterScope() { jitter_one_in.store(0, std::memory_order_relaxed); }

}  // namespace pervma

// spin.h: how a waiter passes the time before it sleeps.
//
// A wake-up across CPUs costs tens of microseconds in a virtual machine, most of it to get an idle
// CPU out of its halt. So a waiter polls for about as long as the wake-up would take: first with
// pauses, because most holds are short; then yielding between polls, because with more threads than
// CPUs the holder may be waiting for this very CPU.
#pragma once

#include <cstdint>

#include "sync/platform.h"

namespace pervma {

// CLOCK_MONOTONIC in nanoseconds.
uint64_t monotonic_ns() noexcept;

class AdaptiveSpinner {
 public:
  explicit AdaptiveSpinner(SpinBudget budget) noexcept : budget_(budget) {}

  // Passes a moment. False when it is time to sleep.
  [[nodiscard]] bool spin() noexcept;
  // The pauses are over: what is waited for takes longer than most holds.
  [[nodiscard]] bool is_yielding() const noexcept { return round_ == kPauses; }

 private:
  static constexpr uint32_t kPauses = 24;  // 1-2 us on a core whose pause takes 140 cycles
  static constexpr uint64_t kBudgetNs = 60'000;

  SpinBudget budget_;
  uint32_t round_ = 0;
  uint64_t deadline_ns_ = 0;
};

}  // namespace pervma

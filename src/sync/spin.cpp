#include "sync/spin.h"

#include <sched.h>
#include <time.h>

#include "sync/cpu.h"

namespace pervma {

uint64_t monotonic_ns() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

bool AdaptiveSpinner::spin() noexcept {
  if (round_ < kPauses) {
    ++round_;
    cpu_relax();
    return true;
  }
  if (budget_ == SpinBudget::pause) return false;
  const uint64_t now = monotonic_ns();
  if (deadline_ns_ == 0) deadline_ns_ = now + kBudgetNs;
  if (now >= deadline_ns_) return false;
  sched_yield();
  return true;
}

}  // namespace pervma

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

uint32_t usable_cpus() noexcept {
  // Fails on machines with more than 1,024 CPUs: then there are certainly enough of them.
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return CPU_SETSIZE;
  const int count = CPU_COUNT(&set);
  return count > 0 ? static_cast<uint32_t>(count) : 1;
}

bool AdaptiveSpinner::spin() noexcept {
  if (budget_ == SpinBudget::none) return false;
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

// fault_counts.h: the four counters of the fault path, a copy per group of CPUs so that counting
// does not make faults share a cache line. Any thread; a sum is exact when nothing runs beside.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "fault/stripe.h"
#include "pervma/fault.h"
#include "sync/cpu.h"

namespace pervma {

class FaultCounts {
 public:
  enum class Event : uint8_t { success, abort, retry, miss };

  // About 6 ns.
  void add(Event event, uint64_t n = 1) noexcept {
    stripes_[current_stripe(kStripes)].counts[static_cast<unsigned>(event)].fetch_add(
        n, std::memory_order_relaxed);
  }

  FaultCounters sum() const noexcept {
    return {.success = sum_of(Event::success),
            .abort = sum_of(Event::abort),
            .retry = sum_of(Event::retry),
            .miss = sum_of(Event::miss)};
  }

 private:
  static constexpr unsigned kStripes = 16;
  struct alignas(kCacheLine) Stripe {
    std::atomic<uint64_t> counts[4]{};
  };

  uint64_t sum_of(Event event) const noexcept {
    uint64_t sum = 0;
    for (const Stripe& s : stripes_) {
      sum += s.counts[static_cast<unsigned>(event)].load(std::memory_order_relaxed);
    }
    return sum;
  }

  std::array<Stripe, kStripes> stripes_{};
};

}  // namespace pervma

// tick_clock.h: the processor's counter of constant rate, calibrated: times one operation at the
// price of some ten nanoseconds around it.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>

#include "sync/cpu.h"

namespace pervma::bench {

class TickClock {
 public:
  // Takes about 20 ms.
  TickClock() {
    const Reading from = read_both();
    while (Steady::now() - from.time < std::chrono::milliseconds(20)) continue;
    const Reading to = read_both();
    const uint64_t ticks = std::max<uint64_t>(to.ticks - from.ticks, 1);
    const std::chrono::duration<double, std::nano> ns = to.time - from.time;
    ns_per_tick_ = ns.count() / static_cast<double>(ticks);
    std::array<uint64_t, 1001> empty{};
    uint64_t last = cpu_ticks_end();
    for (uint64_t& e : empty) {
      const uint64_t begin = cpu_ticks_begin();
      e = cpu_ticks_end() - begin;
      for (const uint64_t gap : {e, begin - last}) {
        if (gap != 0) step_ = std::min(step_, gap);
      }
      last = begin + e;
    }
    std::ranges::sort(empty);
    overhead_ = empty[empty.size() / 2];
  }

  double ns(uint64_t ticks) const noexcept { return static_cast<double>(ticks) * ns_per_tick_; }
  // What an operation took between cpu_ticks_begin() and cpu_ticks_end(), without the clock itself.
  uint64_t spent(uint64_t begin, uint64_t end) const noexcept {
    const uint64_t all = end - begin;
    return end < begin || all < overhead_ ? 0 : all - overhead_;
  }
  // What it adds to an operation, and how finely it tells apart.
  double overhead_ns() const noexcept { return ns(overhead_); }
  double step_ns() const noexcept { return ns(step_); }

 private:
  using Steady = std::chrono::steady_clock;
  struct Reading {
    uint64_t ticks;
    Steady::time_point time;
  };
  // Both clocks at one moment: of a few times the one with the least around it, for a thread may
  // lose its CPU between two clocks.
  static Reading read_both() noexcept {
    Reading best{};
    uint64_t least = ~uint64_t{0};
    for (int i = 0; i < 16; ++i) {
      const uint64_t before = cpu_ticks_begin();
      const Steady::time_point time = Steady::now();
      const uint64_t around = cpu_ticks_end() - before;
      if (around < least) {
        least = around;
        best = {before + around / 2, time};
      }
    }
    return best;
  }

  double ns_per_tick_ = 1;
  uint64_t overhead_ = 0;
  uint64_t step_ = ~uint64_t{0};
};

}  // namespace pervma::bench

// worker.h: one thread of a measurement: counts and times its operations while the stage says so.
#pragma once

#include <atomic>
#include <cstdint>

#include "bench/histogram.h"
#include "bench/tick_clock.h"

namespace pervma::bench {

// Keeps the compiler from dropping a result.
template <class T>
inline void keep(const T& value) noexcept {
  asm volatile("" : : "r,m"(value) : "memory");
}
// The value, about which the compiler knows nothing any more.
inline uint64_t opaque(uint64_t value) noexcept {
  asm volatile("" : "+r"(value));
  return value;
}

enum class Phase : uint32_t { warm_up, measure, stop };

// What the threads of one measurement share: read by all, written three times.
class alignas(128) Stage {
 public:
  Phase phase() const noexcept { return phase_.load(std::memory_order_relaxed); }
  void enter(Phase p) noexcept { phase_.store(p, std::memory_order_relaxed); }

 private:
  std::atomic<Phase> phase_{Phase::warm_up};
};

class alignas(128) Worker {
 public:
  Worker(const Stage& stage, const TickClock& clock, unsigned index, unsigned count,
         uint64_t seed) noexcept
      : stage_(stage), clock_(clock), index_(index), count_(count), seed_(seed) {}

  unsigned index() const noexcept { return index_; }  // among the threads of its role
  unsigned count() const noexcept { return count_; }  // of threads of its role
  uint64_t seed() const noexcept { return seed_; }    // another for every repeat

  // Calls op() until the stage ends, and times one call of kEvery: the clock's own price is then
  // no part of the rate. Operations before Phase::measure count for nothing. A call may do several
  // operations at once; the time of one is then its part.
  template <unsigned kEvery, class Op>
  void run(Op op, uint64_t per_call = 1) {
    while (stage_.phase() == Phase::warm_up) {
      for (unsigned i = 0; i < kEvery; ++i) op();
    }
    begin_ = cpu_ticks_begin();
    // Once at least: a thread may get its CPU only when all is over.
    do {
      const uint64_t begin = cpu_ticks_begin();
      op();
      latency_.add(clock_.spent(begin, cpu_ticks_end()) / per_call);
      for (unsigned i = 1; i < kEvery; ++i) op();
      operations_ += kEvery * per_call;
    } while (stage_.phase() == Phase::measure);
    end_ = cpu_ticks_end();
  }
  // The same for an operation that changes something which undo() puts back: op(0) .. op(n-1), then
  // undo(0) .. undo(n-1), which is not measured.
  template <class Op, class Undo>
  void run_undone(unsigned n, Op op, Undo undo) {
    uint64_t spent = 0;
    while (stage_.phase() == Phase::warm_up) {
      for (unsigned i = 0; i < n; ++i) op(i);
      for (unsigned i = 0; i < n; ++i) undo(i);
    }
    do {
      const uint64_t begin = cpu_ticks_begin();
      op(0);
      const uint64_t first = cpu_ticks_end();
      for (unsigned i = 1; i < n; ++i) op(i);
      spent += cpu_ticks_end() - begin;
      latency_.add(clock_.spent(begin, first));
      operations_ += n;
      for (unsigned i = 0; i < n; ++i) undo(i);
    } while (stage_.phase() == Phase::measure);
    end_ = begin_ + spent;
  }
  // Does so many operations once, as one piece of work (see Case::once).
  template <class Work>
  void run_once(uint64_t operations, Work work) {
    begin_ = cpu_ticks_begin();
    work();
    end_ = cpu_ticks_end();
    operations_ += operations;
    latency_.add((end_ - begin_) / operations);
  }
  // The same for work that somebody else did and timed.
  void note_once(uint64_t operations, uint64_t ticks) {
    begin_ = 0;
    end_ = ticks;
    operations_ += operations;
    latency_.add(ticks / operations);
  }
  Histogram& latency() noexcept { return latency_; }
  const Histogram& latency() const noexcept { return latency_; }
  const TickClock& clock() const noexcept { return clock_; }

  // Answers that were not what they had to be: the whole benchmark is void then.
  void note_wrong(uint64_t n) noexcept { wrong_ += n; }
  uint64_t wrong() const noexcept { return wrong_; }

  double ops_per_s() const noexcept {
    const double ns = clock_.ns(end_ - begin_);
    return operations_ == 0 || ns <= 0 ? 0 : static_cast<double>(operations_) * 1e9 / ns;
  }

 private:
  const Stage& stage_;
  const TickClock& clock_;
  const unsigned index_;
  const unsigned count_;
  const uint64_t seed_;
  uint64_t operations_ = 0;
  uint64_t wrong_ = 0;
  uint64_t begin_ = 0;
  uint64_t end_ = 0;
  Histogram latency_;
};

}  // namespace pervma::bench

// monitor.h: what the threads of a torture run share besides the space: when to stop, the first
// violation, what was done last, and how often.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "bench/torture/torture.h"

namespace pervma::torture {

struct Random {
  uint64_t state;

  uint64_t operator()() noexcept {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1d;
  }
  uint64_t below(uint64_t n) noexcept { return (operator()() >> 33) % n; }
  bool one_in(uint64_t n) noexcept { return below(n) == 0; }
};

// What one thread did last: written by it alone, read when all have stopped.
class EventRing {
 public:
  static constexpr size_t kSize = 24;

  struct Event {
    uint64_t ns;
    const char* what;
    Address at;
    uint64_t pages;
    const char* result;  // null: it has not returned
  };

  void begin(const char* what, Address at, uint64_t pages) noexcept;
  void end(const char* result) noexcept { events_[(next_ - 1) % kSize].result = result; }
  // One line per event, the oldest first.
  std::string text(uint64_t base_ns) const;

 private:
  std::array<Event, kSize> events_{};
  uint64_t next_ = 0;
};

// One thread's own things.
struct alignas(128) ThreadState {
  EventRing events;
  std::map<std::string, uint64_t> counts;
  std::atomic<uint64_t> operations{0};
  std::mutex stop_mutex;
  std::stop_source stop;  // under stop_mutex: of the operation under way

  void count(const std::string& what, uint64_t n = 1) { counts[what] += n; }
  std::stop_token fresh_stop() {
    const std::scoped_lock lock(stop_mutex);
    stop = std::stop_source();
    return stop.get_token();
  }
  void request_stop() {
    const std::scoped_lock lock(stop_mutex);
    stop.request_stop();
  }
};

class Monitor {
 public:
  explicit Monitor(unsigned threads);

  ThreadState& thread(unsigned i) noexcept { return threads_[i]; }
  unsigned threads() const noexcept { return static_cast<unsigned>(threads_.size()); }

  // True: a violation was found, or the time is over.
  bool is_over() const noexcept { return over_.load(std::memory_order_relaxed); }
  void end() noexcept { over_.store(true, std::memory_order_relaxed); }

  // Notes the first violation: `self` found it, `other` owns what it was found on.
  void violated(unsigned self, unsigned other, const std::string& what);
  bool has_violation() const;
  // Its text with both sides' last events. When all threads have stopped, or hang.
  std::optional<std::string> report() const;
  // Of all threads: when they hang.
  std::string all_events() const;

  uint64_t operations() const noexcept;

 private:
  struct Violation {
    unsigned self;
    unsigned other;
    std::string what;
  };

  std::vector<ThreadState> threads_;
  std::atomic<bool> over_{false};
  const uint64_t begin_ns_;
  mutable std::mutex mutex_;
  std::optional<Violation> violation_;
};

}  // namespace pervma::torture

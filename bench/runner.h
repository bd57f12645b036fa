// runner.h: runs the cases of a benchmark, all in turn and that several times over, so that what
// disturbs the machine disturbs each of them alike.
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "bench/bench_row.h"
#include "bench/tick_clock.h"
#include "bench/worker.h"

namespace pervma::bench {

// What all benchmarks are told.
struct RunOptions {
  uint32_t repeats = 10;
  double seconds = 0.05;  // that each case is measured for in each repeat
  uint64_t seed = 1;
  std::atomic<uint64_t>* progress = nullptr;  // counts the cases' repeats
  std::atomic<uint64_t>* planned = nullptr;   // how many there are to be, as far as is known
};

// Threads of one kind.
struct Crew {
  std::string role;
  unsigned threads = 1;
  std::function<void(Worker&)> work;
};

// timed: threads work until the time is over. once: until they have done their work.
enum class Extent : uint8_t { timed, once };

// One line of the result per crew.
struct Case {
  std::string scenario;
  std::string variant;
  std::string subject;
  uint64_t ranges = 0;
  std::vector<Crew> crews;
  Extent extent = Extent::timed;
  std::function<void()> before{};  // before each repeat
  std::function<void()> after{};   // after each repeat
};

// A benchmark's rows, or why there are none: one line for the user.
using BenchResult = std::expected<std::vector<BenchRow>, std::string>;

// A quarter of the time is warm-up, on top of what is measured. Threads are bound to one CPU each
// where there are enough of them. An answer that was wrong ends it all.
BenchResult run_cases(const std::vector<Case>&, const RunOptions&);

// The CPUs that this process may use.
unsigned usable_cpus() noexcept;

}  // namespace pervma::bench

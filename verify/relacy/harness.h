// harness.h: scenarios, and the command line that explores them.
//
// A scenario is a class with a body per thread. A harness is a program with some scenarios about
// one subject; each is explored to its bound:
//   exhaustive  every schedule, every stale value a load may see (one step back in the modification
//               order), every spurious failure of a weak exchange (one per atomic)
//   bounded(n)  the same with at most n switches away from a thread that could go on
//   random(n)   n schedules drawn with a fixed seed; stale values up to two steps back
// A run with a mutant draws schedules of every scenario until one fails, and expects that.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model.h"
#include "platform.h"
#include "relacy.h"
#include "sticky_scheduler.h"

namespace pervma::verify {

struct Search {
  rl::scheduler_type_e kind;
  uint64_t amount;
};
constexpr Search exhaustive() { return {rl::sched_full, 0}; }
constexpr Search bounded(unsigned switches) { return {rl::sched_bound, switches}; }
constexpr Search random_schedules(uint64_t n) { return {rl::sched_random, n}; }

// Base of a scenario: `void thread(unsigned i)`, and `before()`, `after()` where needed, which run
// alone.
template <class Self, int kThreads>
class Scenario : public rl::test_suite<Self, kThreads> {
 private:
  Model model_;
};

struct Outcome {
  bool passed;
  uint64_t schedules;
  double seconds;
  std::string report;  // the schedule that failed, step by step
};

// Not rl::simulate(): it knows three schedulers only. A failure is met again to record its steps.
template <class S, class Scheduler>
rl::test_result_e simulate(rl::test_params& params) {
  rl::ostringstream state;
  rl::test_result_e result = rl::run_test<S, Scheduler>(params, state, false);
  if (result == rl::test_result_success) return result;
  params.initial_state = params.final_state = state.str();
  params.collect_history = true;
  rl::ostringstream unused;
  return rl::run_test<S, Scheduler>(params, unused, true);
}

template <class S>
Outcome explore(Search search) {
  // Relacy takes over operator new within a run: the report's memory must not be its.
  rl::ostringstream report;
  struct Null : std::streambuf {
    int overflow(int c) override { return c; }
  } null;
  std::ostream nowhere(&null);
  rl::test_params params;
  params.search_type = search.kind;
  params.iteration_count = search.kind == rl::sched_random ? search.amount : 1;
  params.context_bound = static_cast<unsigned>(search.amount);
  params.execution_depth_limit = 20'000;
  params.output_stream = &report;
  params.progress_stream = &nowhere;
  constexpr rl::thread_id_t kThreads = S::params::thread_count;
  const auto start = std::chrono::steady_clock::now();
  rl::test_result_e result = rl::test_result_success;
  if (search.kind == rl::sched_random) {
    result = simulate<S, StickyScheduler<kThreads>>(params);
  } else if (search.kind == rl::sched_full) {
    result = simulate<S, rl::full_search_scheduler<kThreads>>(params);
  } else {
    result = simulate<S, rl::context_bound_scheduler<kThreads>>(params);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  return {result == rl::test_result_success, params.stop_iteration, took.count(),
          std::string(report.str().c_str())};
}

class Harness {
 public:
  explicit Harness(std::string_view name) : name_(name) {}

  template <class S>
  Harness& add(std::string_view name, std::initializer_list<Search> searches) {
    entries_.push_back({name, searches, &explore<S>});
    return *this;
  }

  // 0: as expected; 1: not (a failure, or a mutant that survived); 2: bad usage.
  int run(int argc, char** argv);

 private:
  struct Entry {
    std::string_view name;
    std::vector<Search> searches;
    Outcome (*explore)(Search);
  };
  enum class Format : uint8_t { text, json };

  bool explore_one(const Entry& entry, Search search, Format format) const;
  int break_one(Format format) const;

  std::string_view name_;
  std::vector<Entry> entries_;
  std::string_view only_;       // one scenario by name, or empty: all
  std::string_view mutant_;     // a site's name, or empty: none
  std::vector<Search> search_;  // overrides the scenarios' own
  bool trace_ = false;          // print the schedule that fails
};

}  // namespace pervma::verify

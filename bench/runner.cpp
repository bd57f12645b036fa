#include "bench/runner.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <memory>
#include <thread>

namespace pervma::bench {

namespace {

// What the repeats of one crew gave.
struct Measured {
  std::vector<double> rates;
  Histogram latency;
};

std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) cpus.push_back(i);
  }
  return cpus;
}

void bind_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

void sleep_for(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

// One repeat of one case: every crew's threads at once.
class Round {
 public:
  Round(const Case& c, const RunOptions& options, const TickClock& clock, uint32_t repeat)
      : case_(c), options_(options) {
    for (const Crew& crew : c.crews) {
      for (unsigned i = 0; i < crew.threads; ++i) {
        workers_.push_back(std::make_unique<Worker>(stage_, clock, i, crew.threads,
                                                    options.seed * 1'000'003 + repeat));
        work_.push_back(&crew.work);
      }
    }
  }

  void run() {
    const std::vector<int> cpus = allowed_cpus();
    std::barrier start(static_cast<std::ptrdiff_t>(workers_.size()) + 1);
    std::vector<std::jthread> threads;
    threads.reserve(workers_.size());
    for (size_t i = 0; i < workers_.size(); ++i) {
      threads.emplace_back([&, i] {
        if (workers_.size() <= cpus.size()) bind_to(cpus[i]);
        start.arrive_and_wait();
        (*work_[i])(*workers_[i]);
      });
    }
    if (case_.extent == Extent::once) stage_.enter(Phase::stop);
    start.arrive_and_wait();
    if (case_.extent == Extent::once) return;
    sleep_for(options_.seconds / 4);
    stage_.enter(Phase::measure);
    sleep_for(options_.seconds);
    stage_.enter(Phase::stop);
  }

  // Adds to each crew's figures. The number of wrong answers.
  uint64_t collect(std::vector<Measured>& crews) const {
    uint64_t wrong = 0;
    size_t at = 0;
    for (size_t c = 0; c < case_.crews.size(); ++c) {
      double rate = 0;
      for (unsigned i = 0; i < case_.crews[c].threads; ++i, ++at) {
        rate += workers_[at]->ops_per_s();
        crews[c].latency.merge(workers_[at]->latency());
        wrong += workers_[at]->wrong();
      }
      crews[c].rates.push_back(rate);
    }
    return wrong;
  }

 private:
  const Case& case_;
  const RunOptions& options_;
  Stage stage_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<const std::function<void(Worker&)>*> work_;
};

BenchRow row_of(const Case& c, const Crew& crew, Measured& m, const TickClock& clock) {
  BenchRow row;
  row.scenario = c.scenario;
  row.variant = c.variant;
  row.subject = c.subject;
  row.role = crew.role;
  row.ranges = c.ranges;
  row.threads = crew.threads;
  std::ranges::sort(m.rates);
  const size_t half = m.rates.size() / 2;
  const double median =
      m.rates.size() % 2 == 1 ? m.rates[half] : (m.rates[half - 1] + m.rates[half]) / 2;
  row.ops_per_s = median;
  row.ns_mean = median > 0 ? crew.threads * 1e9 / median : 0;
  const auto ns = [&](double ticks) { return clock.ns(1) * ticks; };
  row.ns_p50 = ns(m.latency.at(0.5));
  row.ns_p99 = ns(m.latency.at(0.99));
  row.ns_p999 = ns(m.latency.at(0.999));
  row.ns_max = clock.ns(m.latency.max());
  row.repeats = static_cast<uint32_t>(m.rates.size());
  row.spread_pct = median > 0 ? 100 * (m.rates.back() - m.rates.front()) / median : 0;
  return row;
}

}  // namespace

unsigned usable_cpus() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<unsigned>(CPU_COUNT(&set)) : 1;
}

BenchResult run_cases(const std::vector<Case>& cases, const RunOptions& options) {
  const TickClock clock;
  std::vector<std::vector<Measured>> measured;
  measured.reserve(cases.size());
  for (const Case& c : cases) measured.emplace_back(c.crews.size());
  if (options.planned != nullptr) {
    options.planned->fetch_add(cases.size() * options.repeats, std::memory_order_relaxed);
  }
  for (uint32_t repeat = 0; repeat < options.repeats; ++repeat) {
    for (size_t i = 0; i < cases.size(); ++i) {
      // Another one begins each time.
      const size_t at = (i + repeat) % cases.size();
      const Case& c = cases[at];
      if (c.before) c.before();
      Round round(c, options, clock, repeat);
      round.run();
      if (const uint64_t wrong = round.collect(measured[at]); wrong != 0) {
        return std::unexpected(
            fmt::format("{}: {} gave {} wrong answers", c.scenario, c.subject, wrong));
      }
      if (c.after) c.after();
      if (options.progress != nullptr) options.progress->fetch_add(1, std::memory_order_relaxed);
    }
  }
  std::vector<BenchRow> rows;
  for (size_t i = 0; i < cases.size(); ++i) {
    for (size_t crew = 0; crew < cases[i].crews.size(); ++crew) {
      rows.push_back(row_of(cases[i], cases[i].crews[crew], measured[i][crew], clock));
    }
  }
  return rows;
}

}  // namespace pervma::bench

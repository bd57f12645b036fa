#include "trace/replay.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <system_error>
#include <thread>

#include "sync/cpu.h"

namespace pervma::trace {

namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kTablePages = 4096;

// How far a worker is. A line of its own: the others poll it.
struct alignas(64) Progress {
  std::atomic<uint32_t> done{0};
};

struct WorkerResult {
  PlayLog log;
  std::vector<uint32_t> fault_ns;
  std::vector<uint32_t> change_ns;
};

// Whether a latency of this operation is of interest: a call that changes the map.
bool is_change(const Op& op) noexcept {
  return op.writes_map && op.kind != OpKind::user_fault && op.kind != OpKind::kernel_fault &&
         op.kind < OpKind::new_space;
}

class Run {
 public:
  Run(const Script& script, Stage& stage, std::vector<WorkerPlan> plans,
      std::atomic<uint64_t>* count)
      : script_(script),
        stage_(stage),
        plans_(std::move(plans)),
        progress_(plans_.size()),
        results_(plans_.size()),
        count_(count) {}

  void work(uint32_t w) noexcept;
  void start() noexcept { go_.store(true, std::memory_order_release); }  // [W3] pairs with [W4]
  // Makes every worker stop where it is.
  void abandon() noexcept { abandoned_.store(true, std::memory_order_relaxed); }
  std::vector<WorkerResult>& results() noexcept { return results_; }

 private:
  // False: the run was abandoned.
  [[nodiscard]] bool wait_for(const Wait& wait) const noexcept;

  const Script& script_;
  Stage& stage_;
  const std::vector<WorkerPlan> plans_;
  std::vector<Progress> progress_;
  std::vector<WorkerResult> results_;
  std::atomic<bool> go_{false};
  std::atomic<bool> abandoned_{false};  // Relaxed: nothing is read because of it.
  std::atomic<uint64_t>* const count_;
};

// The other worker may need this CPU: poll a little, then let it run.
bool Run::wait_for(const Wait& wait) const noexcept {
  const std::atomic<uint32_t>& done = progress_[wait.worker].done;
  for (int round = 0;; ++round) {
    if (done.load(std::memory_order_acquire) >= wait.done) return true;  // [W2] pairs with [W1]
    if (round < 64) {
      cpu_relax();
    } else {
      if (abandoned_.load(std::memory_order_relaxed)) return false;
      sched_yield();
    }
  }
}

void Run::work(uint32_t w) noexcept {
  while (!go_.load(std::memory_order_acquire)) sched_yield();  // [W4] pairs with [W3]
  const WorkerPlan& plan = plans_[w];
  WorkerResult& result = results_[w];
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const size_t waits_end =
        i + 1 < plan.steps.size() ? plan.steps[i + 1].first_wait : plan.waits.size();
    for (size_t k = plan.steps[i].first_wait; k < waits_end; ++k) {
      if (!wait_for(plan.waits[k])) return;
    }
    if (abandoned_.load(std::memory_order_relaxed)) return;
    const Op& op = script_.ops[plan.steps[i].op];
    const Clock::time_point before = Clock::now();
    stage_.play(op, result.log);
    const auto ns = static_cast<uint32_t>(
        std::min<int64_t>(std::chrono::nanoseconds(Clock::now() - before).count(), UINT32_MAX));
    if (op.kind == OpKind::user_fault) {
      result.fault_ns.push_back(ns);
    } else if (is_change(op)) {
      result.change_ns.push_back(ns);
    }
    const auto done = static_cast<uint32_t>(i + 1);
    progress_[w].done.store(done, std::memory_order_release);  // [W1] pairs with [W2]
    if (count_ != nullptr && i % 256 == 255) count_->fetch_add(256, std::memory_order_relaxed);
  }
}

}  // namespace

double ReplayResult::fallback_pct() const noexcept {
  const uint64_t attempts = fault_counters.success + fault_counters.retry + fault_counters.abort;
  if (attempts == 0) return 0;
  return 100.0 * static_cast<double>(fault_counters.retry + fault_counters.abort) /
         static_cast<double>(attempts);
}

TraceResult<std::unique_ptr<Prepared>> prepare(const std::string& path) {
  auto prepared = std::make_unique<Prepared>();
  TraceResult<Recording> recording = read_recording(path);
  if (!recording) return std::unexpected(recording.error());
  prepared->recording = std::move(*recording);
  TraceResult<Script> script = make_script(prepared->recording);
  if (!script) return std::unexpected(script.error());
  prepared->script = std::move(*script);
  Result<Dependencies> deps = find_dependencies(prepared->script, prepared->recording);
  if (!deps) {
    return std::unexpected(TraceError{path, 0, "no memory to replay it"});
  }
  prepared->dependencies = std::move(*deps);
  return prepared;
}

Result<ReplayResult> replay(const Prepared& prepared, const ReplayOptions& options) {
  const Script& script = prepared.script;
  // A page per fault and some tables: the host's own faults are no matter of lock designs.
  const PageCount present{(script.user_faults + script.user_faults / 8) + kTablePages};
  Result<std::unique_ptr<Stage>> stage = Stage::create(script, options.design, present);
  if (!stage) return std::unexpected(stage.error());
  Run run(script, **stage, make_schedule(script, prepared.dependencies, options.workers),
          options.progress);
  Clock::time_point begin;
  {
    std::vector<std::jthread> threads;
    try {
      for (uint32_t w = 0; w < options.workers; ++w) {
        threads.emplace_back([&run, w] { run.work(w); });
      }
    } catch (const std::system_error&) {
      run.abandon();  // Those that did start would wait for the rest.
      run.start();
      return std::unexpected(Error::nomem);
    }
    begin = Clock::now();
    run.start();
  }
  ReplayResult result;
  result.elapsed_ns = static_cast<uint64_t>(std::chrono::nanoseconds(Clock::now() - begin).count());
  PlayLog end_log;
  const Stage::Totals totals = (*stage)->finish(end_log);
  result.fault_counters = totals.faults;
  result.lock = totals.lock;
  result.frames = totals.frames;
  result.events = script.ops.size();
  const auto take = [&](PlayLog& log) {
    result.mismatch_count += log.mismatch_count;
    result.mismatches.insert(result.mismatches.end(), log.mismatches.begin(), log.mismatches.end());
  };
  for (WorkerResult& worker : run.results()) {
    take(worker.log);
    result.fault_ns.insert(result.fault_ns.end(), worker.fault_ns.begin(), worker.fault_ns.end());
    result.change_ns.insert(result.change_ns.end(), worker.change_ns.begin(),
                            worker.change_ns.end());
  }
  take(end_log);
  std::ranges::stable_sort(result.mismatches, {}, &Mismatch::line);
  result.faults = result.fault_ns.size();
  return result;
}

}  // namespace pervma::trace

#include "bench/torture/torture.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

#include "bench/torture/marks.h"
#include "bench/torture/monitor.h"
#include "bench/torture/owner.h"
#include "bench/torture/visitor.h"
#include "pervma/engine.h"
#include "sync/jitter.h"

namespace pervma::torture {

namespace {

using Clock = std::chrono::steady_clock;
constexpr double kRoundSeconds = 1;

double seconds_since(Clock::time_point t) {
  return std::chrono::duration<double>(Clock::now() - t).count();
}

// Counts what the space tells of its changes; in the thread that made them.
class Listener final : public MapObserver {
 public:
  void changed(const Change&) noexcept override { count_.fetch_add(1, std::memory_order_relaxed); }
  uint64_t count() const noexcept { return count_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> count_{0};
};

// Counts the changes of entries that are under way.
class Balance final : public PageNotifier {
 public:
  void invalidate_start(Range) noexcept override { open_.fetch_add(1, std::memory_order_relaxed); }
  void invalidate_end(Range) noexcept override { open_.fetch_sub(1, std::memory_order_relaxed); }
  int64_t open() const noexcept { return open_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> open_{0};
};

class Run {
 public:
  explicit Run(const TortureOptions& options)
      : options_(options), monitor_(options.threads), begin_(Clock::now()) {}

  TortureResult result() {
    const JitterScope jitter(64);
    while (!monitor_.is_over() && !is_time_up()) round();
    result_.violation = monitor_.report();
    result_.operations = monitor_.operations();
    result_.counts["map changes told"] = listener_.count();
    for (unsigned t = 0; t < options_.threads; ++t) {
      for (const auto& [what, n] : monitor_.thread(t).counts) result_.counts[what] += n;
    }
    return std::move(result_);
  }

 private:
  bool is_time_up() const {
    return seconds_since(begin_) >= options_.seconds ||
           (options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed));
  }

  // A space's whole life.
  void round() {
    // Pages that visitors send out go to a store in one round of two, and stay in the other.
    EngineOptions how;
    how.collapser = CollapserKind::thread;
    if (result_.rounds % 2 == 0) {
      Result<std::unique_ptr<PageStore>> store =
          make_compressed_store({.capacity = {100'000}, .memory = uint64_t{1} << 30});
      if (store) how.swap = std::move(*store);
    }
    Result<std::unique_ptr<Engine>> engine = Engine::create(how);
    if (!engine) {
      monitor_.violated(0, 0, "no memory for an engine");
      return;
    }
    Result<std::unique_ptr<AddressSpace>> space =
        (*engine)->create_space({.design = options_.design,
                                 .vma_free = way_to_free(),
                                 .observer = &listener_,
                                 .huge_pages = HugePages::always});
    if (!space) {
      monitor_.violated(0, 0, "no memory for a space");
      return;
    }
    (*space)->set_brk_start(kHeap);
    Balance balance;
    if (!(*space)->add_notifier(balance)) {
      monitor_.violated(0, 0, "no memory for a notifier");
      return;
    }
    Arena arena(options_.threads);
    work(**engine, **space, arena);
    const FaultCounters f = (*space)->fault_counters();
    const LockCounters l = (*space)->lock_counters();
    result_.faults.success += f.success;
    result_.faults.abort += f.abort;
    result_.faults.retry += f.retry;
    result_.faults.miss += f.miss;
    result_.mmap_lock.read += l.read;
    result_.mmap_lock.write += l.write;
    result_.mmap_lock.wait_ns += l.wait_ns;
    ++result_.rounds;
    result_.counts["pages sent out"] += (*engine)->swap_counters().out;
    result_.counts["pages back from the store"] += (*engine)->swap_counters().in;
    (*space)->remove_notifier(balance);
    if (balance.open() != 0 && !monitor_.has_violation()) {
      monitor_.violated(0, 0, "a notifier was told the start of a change and not its end");
    }
    space->reset();
    if ((*engine)->frames_used() != PageCount{0} && !monitor_.has_violation()) {
      monitor_.violated(0, 0,
                        fmt::format("{} frames are in use after the space has gone",
                                    (*engine)->frames_used().value));
    }
  }

  // Rounds take turns with what the design knows.
  VmaFree way_to_free() const {
    if (!design_info(options_.design).frees_by_rcu) return VmaFree::at_once;
    return kVmaFrees[result_.rounds % kVmaFrees.size()];
  }

  void work(Engine& engine, AddressSpace& space, Arena& arena) {
    std::vector<std::unique_ptr<Owner>> owners;
    owners.reserve(options_.threads);
    for (unsigned t = 0; t < options_.threads; ++t) {
      owners.push_back(
          std::make_unique<Owner>(engine, space, arena, monitor_, t, options_.broken, seed(t, 1)));
    }
    std::atomic<bool> round_is_over{false};
    running_.store(options_.threads, std::memory_order_relaxed);
    {
      std::vector<std::jthread> threads;
      threads.reserve(options_.threads + 1);
      for (unsigned t = 0; t < options_.threads; ++t) {
        threads.emplace_back([&, t] {
          Visitor visitor(space, arena, monitor_, t, options_.broken, seed(t, 2));
          thread(t, *owners[t], visitor, round_is_over);
          running_.fetch_sub(1, std::memory_order_relaxed);
        });
      }
      threads.emplace_back([&] { kill(round_is_over); });
      wait(round_is_over);
    }
    if (monitor_.is_over() && monitor_.has_violation()) return;
    for (const auto& owner : owners) owner->check_all();
    if (const std::string wrong = space.check(); !wrong.empty()) {
      monitor_.violated(0, 0, "check(): " + wrong);
    }
  }

  void thread(unsigned t, Owner& owner, Visitor& visitor, const std::atomic<bool>& round_is_over) {
    Random random{seed(t, 3)};
    do {
      if (random.one_in(3)) {
        owner.step();
      } else {
        visitor.step();
      }
      monitor_.thread(t).operations.fetch_add(1, std::memory_order_relaxed);
      if (random.one_in(64)) std::this_thread::yield();
    } while (!monitor_.is_over() && !round_is_over.load(std::memory_order_relaxed));
  }

  // Stops whatever operation a thread has under way, again and again.
  void kill(const std::atomic<bool>& round_is_over) {
    Random random{seed(0, 4)};
    while (!monitor_.is_over() && !round_is_over.load(std::memory_order_relaxed)) {
      monitor_.thread(static_cast<unsigned>(random.below(options_.threads))).request_stop();
      std::this_thread::sleep_for(std::chrono::microseconds(20 + random.below(200)));
    }
  }

  // Until the round's time is over; watches that there is progress.
  void wait(std::atomic<bool>& round_is_over) {
    const Clock::time_point begin = Clock::now();
    Clock::time_point moved = begin;
    uint64_t last = monitor_.operations();
    while (!monitor_.is_over() && !is_time_up() && seconds_since(begin) < kRoundSeconds) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      watch(last, moved);
    }
    round_is_over.store(true, std::memory_order_relaxed);
    while (running_.load(std::memory_order_relaxed) != 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      watch(last, moved);
    }
  }

  void watch(uint64_t& last, Clock::time_point& moved) {
    const uint64_t now = monitor_.operations();
    if (options_.progress != nullptr) options_.progress->store(now, std::memory_order_relaxed);
    if (now != last) {
      last = now;
      moved = Clock::now();
    } else if (seconds_since(moved) > options_.hang_seconds) {
      hang();
    }
  }
  // The threads cannot be stopped: says what they were doing, and ends the process.
  [[noreturn]] void hang() const {
    fmt::print(stderr, "torture: no operation has ended for {} s\n{}", options_.hang_seconds,
               monitor_.all_events());
    std::fflush(stderr);
    std::_Exit(1);
  }

  uint64_t seed(unsigned thread, unsigned purpose) const {
    const uint64_t s = options_.seed * 0x9e3779b97f4a7c15 + result_.rounds * 1'000'003 +
                       thread * 7919 + purpose * 104'729;
    return s == 0 ? 1 : s;
  }

  const TortureOptions options_;
  Monitor monitor_;
  const Clock::time_point begin_;
  Listener listener_;
  std::atomic<unsigned> running_{0};
  TortureResult result_;
};

}  // namespace

TortureResult run_torture(const TortureOptions& options) { return Run(options).result(); }

}  // namespace pervma::torture

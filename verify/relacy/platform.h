// platform.h: the platform on which Relacy runs the protocols. The same names as NativePlatform's.
//
// Atomics are Relacy's; plain fields are watched for races; sleeping is a table of keys (model.h),
// so a wake-up that is missing leaves a thread that nobody can run: a deadlock, which Relacy
// reports. RCU is modelled by its guarantee. Every operation hands its place in the source to
// Relacy, so that a printed schedule names lines of the protocol.
#pragma once

#include <cstdint>

#include "model.h"
#include "relacy.h"
#include "sync/platform.h"

namespace pervma::verify {

using Where = std::source_location;

inline rl::debug_info at(const Where& w) {
  return {w.function_name(), w.file_name(), static_cast<unsigned>(w.line())};
}

inline rl::memory_order relacy_order(std::memory_order order) {
  switch (order) {
    case std::memory_order_relaxed: return rl::mo_relaxed;
    case std::memory_order_consume: return rl::mo_consume;
    case std::memory_order_acquire: return rl::mo_acquire;
    case std::memory_order_release: return rl::mo_release;
    case std::memory_order_acq_rel: return rl::mo_acq_rel;
    default: return rl::mo_seq_cst;
  }
}

// The order that a failed exchange has where none is given.
inline std::memory_order failure_order(std::memory_order order) {
  if (order == std::memory_order_acq_rel) return std::memory_order_acquire;
  if (order == std::memory_order_release) return std::memory_order_relaxed;
  return order;
}

template <class T>
class RelacyAtomic {
  using Order = std::memory_order;
  // Relacy prints no pointers to const: pointers are numbers to it.
  using Raw = std::conditional_t<std::is_pointer_v<T>, uint64_t, T>;

 public:
  RelacyAtomic() : atomic_(raw(T{})) {}
  RelacyAtomic(T value) : atomic_(raw(value)) {}
  RelacyAtomic(const RelacyAtomic&) = delete;
  RelacyAtomic& operator=(const RelacyAtomic&) = delete;

  T load(Order o, const Where& w = Where::current()) const {
    return cooked(atomic_.load(relacy_order(o), at(w)));
  }
  void store(T value, Order o, const Where& w = Where::current()) {
    atomic_.store(raw(value), relacy_order(o), at(w));
  }
  T exchange(T value, Order o, const Where& w = Where::current()) {
    return cooked(atomic_.exchange(raw(value), relacy_order(o), at(w)));
  }
  T fetch_add(T value, Order o, const Where& w = Where::current()) {
    return atomic_.fetch_add(value, relacy_order(o), at(w));
  }
  T fetch_sub(T value, Order o, const Where& w = Where::current()) {
    return atomic_.fetch_sub(value, relacy_order(o), at(w));
  }
  T fetch_and(T value, Order o, const Where& w = Where::current()) {
    return atomic_.fetch_and(value, relacy_order(o), at(w));
  }
  T fetch_or(T value, Order o, const Where& w = Where::current()) {
    return atomic_.fetch_or(value, relacy_order(o), at(w));
  }
  bool compare_exchange_weak(T& expected, T desired, Order o, Order fail,
                             const Where& w = Where::current()) {
    return exchange_if<true>(expected, desired, o, fail, w);
  }
  bool compare_exchange_weak(T& expected, T desired, Order o, const Where& w = Where::current()) {
    return exchange_if<true>(expected, desired, o, failure_order(o), w);
  }
  bool compare_exchange_strong(T& expected, T desired, Order o, Order fail,
                               const Where& w = Where::current()) {
    return exchange_if<false>(expected, desired, o, fail, w);
  }
  bool compare_exchange_strong(T& expected, T desired, Order o, const Where& w = Where::current()) {
    return exchange_if<false>(expected, desired, o, failure_order(o), w);
  }

  // The last value in the modification order; no step, and no order.
  T latest() const { return cooked(atomic_.debug_value()); }

 private:
  static Raw raw(T value) {
    if constexpr (std::is_pointer_v<T>) {
      return reinterpret_cast<Raw>(value);
    } else {
      return value;
    }
  }
  static T cooked(Raw value) {
    if constexpr (std::is_pointer_v<T>) {
      return reinterpret_cast<T>(value);
    } else {
      return value;
    }
  }

  template <bool kSpurious>
  bool exchange_if(T& expected, T desired, Order o, Order fail, const Where& w) {
    // A mutant's success order may be weaker than the failure order that stands beside it.
    const rl::memory_order success = relacy_order(o);
    const rl::memory_order failure = success == rl::mo_relaxed || success == rl::mo_release
                                         ? rl::mo_relaxed
                                         : relacy_order(fail);
    Raw seen = raw(expected);
    const bool done = atomic_.compare_exchange(rl::bool_t<kSpurious>(), seen, raw(desired), success,
                                               failure, at(w));
    expected = cooked(seen);
    return done;
  }

  rl::atomic<Raw> atomic_;
};

// A plain field: two accesses without an order between them, one a write, are reported. (rl::var
// has no functions for this beside its proxies.)
template <class T>
class RelacyPlain {
 public:
  RelacyPlain() : var_(T{}) {}
  RelacyPlain(T value) : var_(value) {}
  RelacyPlain(const RelacyPlain& other) : var_(other.load()) {}
  RelacyPlain& operator=(const RelacyPlain& other) {
    store(other.load());
    return *this;
  }
  RelacyPlain& operator=(T value) {
    store(value);
    return *this;
  }
  operator T() const { return load(); }
  T operator->() const
    requires std::is_pointer_v<T>
  {
    return load();
  }

 private:
  T load() const { return var_(here()).load(); }
  void store(T value) { var_(here()).store(value); }
  static rl::debug_info here() { return {"plain field", "", 0}; }

  rl::var<T> var_;
};

// A count that nobody decides by: no step of the schedule.
template <class T>
class SilentCounter {
 public:
  SilentCounter(T value = {}) : value_(value) {}
  T load(std::memory_order) const { return value_; }
  void store(T value, std::memory_order) { value_ = value; }
  void fetch_add(T value, std::memory_order) { value_ += value; }

 private:
  T value_;
};

class RelacyStopSource;

class RelacyStopToken {
 public:
  RelacyStopToken() = default;
  explicit RelacyStopToken(const RelacyStopSource& source) : source_(&source) {}
  bool stop_requested() const;
  bool stop_possible() const { return source_ != nullptr; }

 private:
  friend class RelacySleeper;
  const RelacyStopSource* source_ = nullptr;
};

class RelacyStopSource {
 public:
  RelacyStopToken token() const { return RelacyStopToken(*this); }
  // As FutexSleeper: whoever sleeps with this token is woken, and whoever goes to sleep later is
  // told. No order comes with it.
  void request_stop() {
    requested_.store(1, std::memory_order_relaxed);
    for (unsigned i = 0; i < kMaxThreads; ++i) {
      if (asleep_[i]) Model::current().wake_thread(i, at(Where::current()));
    }
  }

 private:
  friend class RelacyStopToken;
  friend class RelacySleeper;
  RelacyAtomic<uint32_t> requested_{0};
  mutable bool asleep_[kMaxThreads] = {};
};

inline bool RelacyStopToken::stop_requested() const {
  return source_ != nullptr && source_->requested_.load(std::memory_order_relaxed) != 0;
}

class RelacySleeper {
 public:
  RelacySleeper(const RelacyAtomic<uint32_t>& word, const RelacyStopToken& stop)
      : word_(word), source_(stop.source_) {}

  bool sleep(uint32_t expected, const Where& w = Where::current()) {
    rl::ctx().sched();
    const bool stopped = source_ != nullptr && source_->requested_.latest() != 0;
    if (stopped) return false;
    if (word_.latest() != expected) {
      rl::ctx().yield(1, at(w));
    } else {
      const unsigned me = rl::thread_index();
      if (source_ != nullptr) source_->asleep_[me] = true;
      Model::current().park(&word_, at(w));
      if (source_ != nullptr) source_->asleep_[me] = false;
    }
    return source_ == nullptr || source_->requested_.latest() == 0;
  }

 private:
  const RelacyAtomic<uint32_t>& word_;
  const RelacyStopSource* source_;
};

// Polls as often as the scenario says; each poll lets others run.
inline unsigned g_polls = 0;

// A power of two.
inline uint32_t g_cpu_slots = 2;

class RelacySpinner {
 public:
  explicit RelacySpinner(SpinBudget) {}
  bool spin() {
    if (left_ == 0) return false;
    --left_;
    rl::ctx().yield(1, at(Where::current()));
    return true;
  }
  bool is_yielding() const { return left_ == 0; }

 private:
  unsigned left_ = g_polls;
};

class RelacyRcuRead {
 public:
  RelacyRcuRead() { Model::current().begin_section(); }
  ~RelacyRcuRead() { Model::current().end_section(at(Where::current())); }
  RelacyRcuRead(const RelacyRcuRead&) = delete;
  RelacyRcuRead& operator=(const RelacyRcuRead&) = delete;
};

// Which thread holds what is the scenarios' business.
struct RelacyTracker {
  enum class Kind : uint8_t { mmap_read, mmap_write, vma_read, page_table };
  static void acquired(Kind, const void*) {}
  static void released(Kind, const void*) {}
  static void downgraded(const void*) {}
  static void about_to_wait_for_mmap_lock(const void*) {}
  static void about_to_drain_vma(const void*) {}
  static void assert_held(Kind, const void*) {}
  static bool may_hold(Kind, const void*) { return true; }
};

struct RelacyPlatform {
  template <class T>
  using Atomic = RelacyAtomic<T>;
  template <class T>
  using Plain = RelacyPlain<T>;
  template <class T>
  using Counter = SilentCounter<T>;
  using StopToken = RelacyStopToken;
  using Sleeper = RelacySleeper;
  using Spinner = RelacySpinner;
  using Tracker = RelacyTracker;
  using RcuRead = RelacyRcuRead;

  static std::memory_order order(Site site, std::memory_order order) noexcept {
    return site == g_mutant ? std::memory_order_relaxed : order;
  }
  static bool keep(Site site) noexcept { return site != g_mutant; }

  static void fence(std::memory_order order, const Where& w = Where::current()) noexcept {
    if (order == std::memory_order_relaxed) return;
    rl::atomic_thread_fence(relacy_order(order), at(w));
  }

  static void wait(const Atomic<uint32_t>& word, uint32_t expected,
                   const Where& w = Where::current()) noexcept {
    (void)RelacySleeper(word, {}).sleep(expected, w);
  }
  static void wake_one(const Atomic<uint32_t>* word, const Where& w = Where::current()) noexcept {
    rl::ctx().sched();
    Model::current().wake(word, 1, at(w));
  }
  static void wake_all(const Atomic<uint32_t>* word, const Where& w = Where::current()) noexcept {
    rl::ctx().sched();
    Model::current().wake(word, kMaxThreads, at(w));
  }

  static void synchronize_rcu(const Where& w = Where::current()) noexcept {
    Model::current().synchronize(at(w));
  }
  using RcuHead = Model::Head;
  static void call_rcu(RcuHead* head, void (*callback)(RcuHead* head)) noexcept {
    Model::current().call_after_grace_period(head, callback);
  }
  static void rcu_callback_begins(const RcuHead*) noexcept {}
  static void rcu_callback_ends() noexcept {}

  static void* allocate(size_t bytes, size_t alignment) noexcept {
    return Model::current().allocate(bytes, alignment);
  }
  static void deallocate(void*) noexcept {}

  // One CPU for each thread; and everything happens at once.
  static uint32_t current_cpu() noexcept { return rl::thread_index(); }
  static uint32_t cpu_slots() noexcept { return g_cpu_slots; }
  static constexpr uint32_t kFailuresToPromote = 1;
  static constexpr uint32_t kUsesToStay = 1;

  static void yield(const Where& w = Where::current()) noexcept { rl::ctx().yield(1, at(w)); }
  static uint64_t now_ns() noexcept { return 0; }
  static void hook(Hook) noexcept {}
  static void report_saturated(const void*) noexcept {}
};

}  // namespace pervma::verify

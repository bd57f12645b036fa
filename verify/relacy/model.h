// model.h: what one explored schedule remembers beside Relacy's own state: the mutant, who sleeps
// on which word, and which read sections are open.
//
// A Model is made anew for every schedule, by the scenario's constructor. All of it is touched by
// one fiber at a time and between two steps of Relacy's scheduler, so nothing here is atomic.
#pragma once

#include <cstddef>
#include <cstdint>

#include "relacy.h"
#include "sync/site.h"

namespace pervma::verify {

// The site that is broken in this run.
inline Site g_mutant = Site::none;

inline constexpr unsigned kMaxThreads = 4;
inline constexpr unsigned kMaxGracePeriods = 16;

// An edge without a step: what released into it happens before what acquires from it later. Relacy
// has such a thing for its mutexes, but only with the number of threads in its type.
class Edge {
 public:
  Edge() : data_(rl::ctx().atomic_ctor(nullptr)) { me().atomic_store_relaxed(data_); }
  ~Edge() { rl::ctx().atomic_dtor(data_); }
  Edge(const Edge&) = delete;
  Edge& operator=(const Edge&) = delete;

  void release() {
    bool aba = false;
    me().atomic_rmw_release(data_, aba);
  }
  void acquire() { me().atomic_load_acquire_rmw(data_); }

 private:
  static rl::thread_info_base& me() { return *rl::ctx().threadx_; }
  rl::atomic_data* const data_;
};

class Model {
 public:
  Model() {
    current_ = this;
    used_ = 0;
  }
  ~Model() { current_ = nullptr; }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  static Model& current() { return *current_; }

  // Sleeps under a key until wake() or, where the checker likes, for nothing.
  void park(const void* key, rl::debug_info_param info) {
    const unsigned thread = rl::thread_index();
    sleeping_[thread] = key;
    const rl::unpark_reason why = rl::ctx().park_current_thread(false, true, false, info);
    if (why != rl::unpark_reason_normal) sleeping_[thread] = nullptr;
  }

  // Wakes up to `most` of those that sleep under the key. Orders nothing: that a futex does in
  // practice is not relied on.
  void wake(const void* key, unsigned most, rl::debug_info_param info) {
    const unsigned first = most < kMaxThreads ? pick_sleeper(key) : 0;
    for (unsigned i = 0; i < kMaxThreads && most > 0; ++i) {
      const unsigned thread = (first + i) % kMaxThreads;
      if (sleeping_[thread] != key) continue;
      wake_thread(thread, info);
      --most;
    }
  }
  void wake_thread(unsigned thread, rl::debug_info_param info) {
    if (sleeping_[thread] == nullptr) return;
    sleeping_[thread] = nullptr;
    rl::ctx().unpark_thread(static_cast<rl::thread_id_t>(thread), false, info);
  }

  // Memory is not used twice within a schedule, so that what is looked at too late is found dead.
  void* allocate(size_t bytes, size_t alignment) {
    used_ = (used_ + alignment - 1) / alignment * alignment;
    if (used_ + bytes > sizeof memory_) return nullptr;
    used_ += bytes;
    return memory_ + used_ - bytes;
  }

  // RCU: a grace period waits for the sections that were open when it began, and happens after all
  // of them and of those before; a section that begins later happens after its beginning. No other
  // edge: the end of a section that began within the grace period orders nothing for it.
  void begin_section() {
    Section& mine = sections_[rl::thread_index()];
    if (mine.depth++ > 0) return;
    rl::ctx().sched();
    mine.since = grace_periods_;
    begun_.acquire();
  }
  void end_section(rl::debug_info_param info) {
    Section& mine = sections_[rl::thread_index()];
    if (--mine.depth > 0) return;
    ended_[mine.since].release();
    wake(&grace_periods_, kMaxThreads, info);
    run_callbacks();
  }
  bool in_section() const { return sections_[rl::thread_index()].depth > 0; }

  void synchronize(rl::debug_info_param info) {
    rl::ctx().sched();
    begun_.release();
    const unsigned mine = grace_periods_++;
    RL_ASSERT(mine + 1 < kMaxGracePeriods);
    while (is_section_open_since(mine)) park(&grace_periods_, info);
    for (unsigned i = 0; i <= mine; ++i) ended_[i].acquire();
  }

  // A callback after a grace period that begins now. It runs as soon as the sections allow, on
  // whichever thread it is then, and orders nothing for that thread: so it may only destroy, or ask
  // for another period, which begins after the first has ended (and so does the thread's rest).
  struct Head {
    void (*run)(Head*);
    unsigned since;
  };
  void call_after_grace_period(Head* head, void (*run)(Head*)) {
    RL_ASSERT(waiting_ < kMaxGracePeriods && grace_periods_ + 1 < kMaxGracePeriods);
    for (unsigned i = 0; i < ended_before_; ++i) ended_[i].acquire();
    begun_.release();
    *head = {run, grace_periods_++};
    heads_[waiting_++] = head;
    run_callbacks();
  }

 private:
  struct Section {
    unsigned depth = 0;
    unsigned since = 0;  // the number of grace periods that had begun
  };

  // Whom a futex wakes is not said: any of them.
  unsigned pick_sleeper(const void* key) const {
    unsigned sleepers[kMaxThreads];
    unsigned n = 0;
    for (unsigned i = 0; i < kMaxThreads; ++i) {
      if (sleeping_[i] == key) sleepers[n++] = i;
    }
    if (n < 2) return n == 0 ? 0 : sleepers[0];
    return sleepers[rl::rand(n)];
  }

  bool is_section_open_since(unsigned grace_period) const {
    for (const Section& s : sections_) {
      if (s.depth > 0 && s.since <= grace_period) return true;
    }
    return false;
  }

  void run_callbacks() {
    for (unsigned i = 0; i < waiting_;) {
      Head* const head = heads_[i];
      if (is_section_open_since(head->since)) {
        ++i;
        continue;
      }
      heads_[i] = heads_[--waiting_];
      ended_before_ = head->since + 1;
      head->run(head);
      ended_before_ = 0;
    }
  }

  static inline Model* current_ = nullptr;

  alignas(64) static inline std::byte memory_[32768];
  static inline size_t used_ = 0;

  const void* sleeping_[kMaxThreads] = {};
  Section sections_[kMaxThreads];
  unsigned grace_periods_ = 0;
  Head* heads_[kMaxGracePeriods];
  unsigned waiting_ = 0;
  unsigned ended_before_ = 0;  // inside a callback: which grace periods are over
  Edge begun_;
  Edge ended_[kMaxGracePeriods];
};

}  // namespace pervma::verify

// sticky_scheduler.h: random schedules in which a thread mostly goes on.
//
// Relacy's random scheduler chooses anew at each step, so a thread with six steps is over before
// one with sixty has got anywhere, and what happens late in the long one is never met. Here each
// schedule has a probability of its own with which the running thread is left, from always to once
// in 64 steps. Waits that may end for nothing do so as in Relacy's.
#pragma once

#include "relacy.h"

namespace pervma::verify {

template <rl::thread_id_t kThreads>
class StickyScheduler
    : public rl::scheduler<StickyScheduler<kThreads>, rl::scheduler_thread_info, kThreads> {
  using Base = rl::scheduler<StickyScheduler<kThreads>, rl::scheduler_thread_info, kThreads>;

 public:
  using typename Base::shared_context_t;
  struct task_t {};

  StickyScheduler(rl::test_params& params, shared_context_t& context, rl::thread_id_t dynamic)
      : Base(params, context, dynamic) {}

  rl::thread_id_t iteration_begin_impl() {
    state_ = this->iter_ * 0x9E3779B97F4A7C15u + 0x632BE59BD9B4E019u;
    leave_one_in_ = 1u << (this->iter_ % 7);
    return any();
  }
  bool iteration_end_impl() { return this->iter_ == this->params_.iteration_count; }

  rl::thread_id_t schedule_impl(rl::unpark_reason& reason, unsigned yield) {
    reason = rl::unpark_reason_normal;
    const rl::thread_id_t asleep = this->spurious_thread_count_;
    if (asleep > 0 && this->running_threads_count > 0 && draw(16) == 0) {
      auto* const thread = this->spurious_threads_[draw(static_cast<unsigned>(asleep))];
      this->unpark_thread(thread->index_);
      reason = rl::unpark_reason_spurious;
      return thread->index_;
    }
    const bool can_go_on = this->thread_->state_ == rl::thread_state_running;
    if (can_go_on && yield == 0 && draw(leave_one_in_) != 0) return this->thread_->index_;
    if (!can_go_on || yield == 0 || this->running_threads_count < 2) return any();
    for (;;) {
      if (const rl::thread_id_t other = any(); other != this->thread_->index_) return other;
    }
  }

  unsigned rand_impl(unsigned limit, rl::sched_type) { return draw(limit); }
  rl::iteration_t iteration_count_impl() { return this->params_.iteration_count; }
  void get_state_impl(std::ostream&) {}
  void set_state_impl(std::istream&) {}
  void on_thread_block(rl::thread_id_t, bool) {}
  void thread_finished_impl() {}
  void purge_blocked_threads() {}

 private:
  // splitmix64
  unsigned draw(unsigned limit) {
    state_ += 0x9E3779B97F4A7C15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return static_cast<unsigned>((z ^ (z >> 31)) % limit);
  }
  rl::thread_id_t any() {
    return this->running_threads[draw(static_cast<unsigned>(this->running_threads_count))];
  }

  uint64_t state_ = 0;
  unsigned leave_one_in_ = 1;
};

}  // namespace pervma::verify

// mmap_lock_slow.h: the members of BasicMmapLock that are not on a hot path. Included by
// mmap_lock.cpp, and by whoever instantiates the lock for a platform of its own.
#pragma once

#include "sync/mmap_lock.h"

namespace pervma {

// A thread in the queue, on that thread's stack. After word says kGranted it may be gone.
template <class P>
struct BasicMmapLock<P>::Waiter {
  static constexpr uint32_t kSpinning = 0;
  static constexpr uint32_t kSleeping = 1;  // Asleep or about to be: wants a wake-up.
  static constexpr uint32_t kGranted = 2;   // Out of the queue, and holds the lock.

  explicit Waiter(Want w) noexcept : want(w) {}

  const Want want;
  Plain<Waiter*> next{nullptr};  // Links under queue_lock_.
  Plain<Waiter*> prev{nullptr};
  Atomic<uint32_t> word{kSpinning};
};

template <class P>
BasicMmapLock<P>::~BasicMmapLock() {
  PERVMA_DASSERT((state_.load(std::memory_order_relaxed) & (kHeld | kQueued)) == 0);
}

template <class P>
void BasicMmapLock<P>::lock_read() noexcept PERVMA_NO_ANALYSIS {
  P::Tracker::about_to_wait_for_mmap_lock(this);
  if (try_lock_read()) return;
  (void)wait_for(Want::read, StopToken{});
  P::Tracker::acquired(P::Tracker::Kind::mmap_read, this);
}

template <class P>
bool BasicMmapLock<P>::lock_read(const StopToken& stop) noexcept PERVMA_NO_ANALYSIS {
  P::Tracker::about_to_wait_for_mmap_lock(this);
  if (stop.stop_requested()) return false;
  if (try_lock_read()) return true;
  if (wait_for(Want::read, stop) == Wait::stopped) return false;
  P::Tracker::acquired(P::Tracker::Kind::mmap_read, this);
  return true;
}

template <class P>
void BasicMmapLock<P>::unlock_read() noexcept PERVMA_NO_ANALYSIS {
  P::Tracker::released(P::Tracker::Kind::mmap_read, this);
  const uint64_t before = state_.fetch_sub(
      kReader, P::order(Site::mmap_read_ends,
                        std::memory_order_release));  // [M3] pairs with [M2], [M6], [M7]
  PERVMA_DASSERT((before & kReaders) != 0);
  if (P::keep(Site::mmap_reader_grants) && (before & kReaders) == kReader &&
      (before & kQueued) != 0) {
    grant();
  }
}

template <class P>
void BasicMmapLock<P>::lock_write() noexcept PERVMA_NO_ANALYSIS {
  P::Tracker::about_to_wait_for_mmap_lock(this);
  if (!try_take_write()) (void)wait_for(Want::write, StopToken{});
  seq_begin();
}

template <class P>
bool BasicMmapLock<P>::lock_write(const StopToken& stop) noexcept PERVMA_NO_ANALYSIS {
  P::Tracker::about_to_wait_for_mmap_lock(this);
  if (stop.stop_requested()) return false;
  if (!try_take_write() && wait_for(Want::write, stop) == Wait::stopped) return false;
  seq_begin();
  return true;
}

template <class P>
void BasicMmapLock<P>::unlock_write() noexcept PERVMA_NO_ANALYSIS {
  P::Tracker::released(P::Tracker::Kind::mmap_write, this);
  if (P::keep(Site::seq_ends_before_release)) seq_end();
  const uint64_t before = state_.fetch_sub(
      kWriter, P::order(Site::mmap_write_ends,
                        std::memory_order_release));  // [M4] pairs with [M1], [M2], [M6], [M7]
  PERVMA_DASSERT((before & kHeld) == kWriter);
  if (!P::keep(Site::seq_ends_before_release)) seq_end();
  if (P::keep(Site::mmap_writer_grants) && (before & kQueued) != 0) grant();
}

template <class P>
void BasicMmapLock<P>::downgrade() noexcept PERVMA_NO_ANALYSIS {
  P::Tracker::downgraded(this);
  if (P::keep(Site::seq_ends_at_downgrade)) seq_end();
  const uint64_t before =
      state_.fetch_add(kReader + kTaken - kWriter,
                       P::order(Site::mmap_downgrade,
                                std::memory_order_release));  // [M5] pairs with [M1], [M6], [M7]
  PERVMA_DASSERT((before & kHeld) == kWriter);
  if (P::keep(Site::mmap_downgrade_grants) && (before & kQueued) != 0) grant();
}

template <class P>
void BasicMmapLock<P>::assert_held() const noexcept PERVMA_NO_ANALYSIS {
  if constexpr (kDebugChecks) {
    if (P::Tracker::may_hold(P::Tracker::Kind::mmap_write, this)) return;
    P::Tracker::assert_held(P::Tracker::Kind::mmap_read, this);
  }
}

template <class P>
void BasicMmapLock<P>::assert_held_write() const noexcept PERVMA_NO_ANALYSIS {
  PERVMA_ASSERT(is_held_for_write());
  P::Tracker::assert_held(P::Tracker::Kind::mmap_write, this);
}

template <class P>
MmapLockStats BasicMmapLock<P>::stats() const noexcept {
  return {.read = state_.load(std::memory_order_relaxed) / kTaken,
          .write = writes_.load(std::memory_order_relaxed),
          .wait_ns = wait_ns_.load(std::memory_order_relaxed),
          .sleeps = sleeps_.load(std::memory_order_relaxed)};
}

template <class P>
bool BasicMmapLock<P>::try_take_write() noexcept {
  uint64_t s = state_.load(std::memory_order_relaxed);
  while ((s & (held() | queued())) == 0) {
    if (state_.compare_exchange_weak(
            s, s | kWriter,
            P::order(Site::mmap_write, std::memory_order_acquire),  // [M2] pairs with [M3] and [M4]
            std::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

template <class P>
typename BasicMmapLock<P>::Wait BasicMmapLock<P>::wait_for(Want want,
                                                           const StopToken& stop) noexcept {
  tell<P>(Probe::mmap_wait, this);
  const uint64_t since = P::now_ns();
  Wait result = Wait::granted;
  if (!compete(want, stop)) {
    Waiter waiter(want);
    if (!take_or_enqueue(waiter)) result = wait_in_queue(waiter, stop);
  }
  wait_ns_.fetch_add(P::now_ns() - since, std::memory_order_relaxed);
  return result;
}

// Tries for a moment. False: it is time for the queue, which also deals with a stop.
template <class P>
bool BasicMmapLock<P>::compete(Want want, const StopToken& stop) noexcept {
  typename P::Spinner spinner(SpinBudget::full);
  while (spinner.spin()) {
    if (want == Want::read ? try_take_read() : try_take_write()) return true;
    if (stop.stop_requested()) return false;
    if (want == Want::write && spinner.is_yielding() &&
        (state_.load(std::memory_order_relaxed) & kReaders) != 0) {
      return false;
    }
  }
  return false;
}

// True: taken. False: the waiter is in the queue, kQueued is set, and the lock is held, so that its
// release will see kQueued and come to the queue.
template <class P>
bool BasicMmapLock<P>::take_or_enqueue(Waiter& waiter) noexcept {
  const uint64_t in_the_way = waiter.want == Want::read ? writer() : held();
  const uint64_t taken = waiter.want == Want::read ? kReader + kTaken : kWriter;
  lock_queue();
  uint64_t s = state_.load(std::memory_order_relaxed);
  while ((s & kQueued) == 0) {
    const bool free = (s & in_the_way) == 0;
    if (state_.compare_exchange_weak(
            s, free ? s + taken : s | kQueued,
            P::order(Site::mmap_take_late,
                     std::memory_order_acquire),  // [M6] with [M3], [M4], [M5]
            std::memory_order_relaxed)) {
      if (!free) break;
      unlock_queue();
      return true;
    }
  }
  waiter.prev = tail_;
  (tail_ != nullptr ? tail_->next : head_) = &waiter;
  tail_ = &waiter;
  unlock_queue();
  P::hook(Hook::queue_after_push);
  return false;
}

template <class P>
typename BasicMmapLock<P>::Wait BasicMmapLock<P>::wait_in_queue(Waiter& waiter,
                                                                const StopToken& stop) noexcept {
  typename P::Spinner spinner(SpinBudget::pause);
  typename P::Sleeper sleeper(waiter.word, stop);
  for (;;) {
    uint32_t word = waiter.word.load(
        P::order(Site::mmap_sees_grant, std::memory_order_acquire));  // [M9] pairs with [M8]
    if (word == Waiter::kGranted) return Wait::granted;
    if (stop.stop_requested()) return cancel(waiter);
    if (word == Waiter::kSpinning) {
      if (spinner.spin()) continue;
      if (!waiter.word.compare_exchange_strong(word, Waiter::kSleeping,
                                               std::memory_order_relaxed)) {
        continue;
      }
      sleeps_.fetch_add(1, std::memory_order_relaxed);
    }
    if (!sleeper.sleep(Waiter::kSleeping)) return cancel(waiter);
  }
}

// Leaves the queue, unless the lock was granted first: then the stop came too late.
template <class P>
typename BasicMmapLock<P>::Wait BasicMmapLock<P>::cancel(Waiter& waiter) noexcept {
  P::hook(Hook::queue_before_cancel);
  lock_queue();
  const bool granted = P::keep(Site::mmap_cancel_sees_grant) &&
                       waiter.word.load(std::memory_order_relaxed) == Waiter::kGranted;
  if (!granted) {
    unlink(waiter);
    // Readers behind a writer that gives up can join readers inside.
    if (P::keep(Site::mmap_cancel_grants)) grant_locked();
  }
  unlock_queue();
  return granted ? Wait::granted : Wait::stopped;
}

template <class P>
void BasicMmapLock<P>::grant() noexcept {
  P::hook(Hook::queue_before_grant);
  lock_queue();
  grant_locked();
  unlock_queue();
}

// Hands the lock to the head of the queue where the holders allow it. While kQueued is set holders
// only leave, and only under queue_lock_ does anyone enter: what is seen free stays free.
template <class P>
void BasicMmapLock<P>::grant_locked() noexcept {
  if (head_ != nullptr) {
    const uint64_t s = state_.load(
        P::order(Site::mmap_grant, std::memory_order_acquire));  // [M7] with [M3], [M4], [M5]
    if (head_->want == Want::write) {
      if (!P::keep(Site::mmap_grant_waits_for_holders) || (s & kHeld) == 0) {
        state_.fetch_add(kWriter, std::memory_order_relaxed);
        signal(*head_);
      }
    } else if (!P::keep(Site::mmap_grant_waits_for_writer) || (s & kWriter) == 0) {
      // All readers that wait, so that a phase of readers is as parallel as it can be; those who
      // come later stand behind the writers in the queue.
      uint64_t readers = 0;
      for (const Waiter* w = head_; w != nullptr; w = w->next) readers += w->want == Want::read;
      state_.fetch_add(readers * (kReader + kTaken), std::memory_order_relaxed);
      for (Waiter *w = head_, *next; w != nullptr; w = next) {
        next = w->next;
        if (w->want == Want::read) signal(*w);
      }
    }
  }
  if (P::keep(Site::mmap_queue_ends) && head_ == nullptr) {
    state_.fetch_and(~kQueued, std::memory_order_relaxed);
  }
}

// Takes a waiter out of the queue and tells it that the lock is its own.
template <class P>
void BasicMmapLock<P>::signal(Waiter& waiter) noexcept {
  unlink(waiter);
  const Atomic<uint32_t>* const address = &waiter.word;
  const uint32_t word = waiter.word.exchange(
      Waiter::kGranted,
      P::order(Site::mmap_granted, std::memory_order_release));  // [M8] pairs with [M9]
  if (P::keep(Site::mmap_grant_wakes) && word == Waiter::kSleeping) P::wake_one(address);
}

template <class P>
void BasicMmapLock<P>::unlink(Waiter& waiter) noexcept {
  (waiter.prev != nullptr ? waiter.prev->next : head_) = waiter.next;
  (waiter.next != nullptr ? waiter.next->prev : tail_) = waiter.prev;
}

template <class P>
void BasicMmapLock<P>::lock_queue() noexcept {
  const auto order =
      P::order(Site::mmap_queue_lock, std::memory_order_acquire);  // [M10] with [M11]
  while (queue_lock_.exchange(1, order) != 0) {
    typename P::Spinner spinner(SpinBudget::pause);
    while (queue_lock_.load(std::memory_order_relaxed) != 0) {
      if (!spinner.spin()) P::yield();
    }
  }
}

template <class P>
void BasicMmapLock<P>::unlock_queue() noexcept {
  queue_lock_.store(
      0, P::order(Site::mmap_queue_unlock, std::memory_order_release));  // [M11] pairs with [M10]
}

// The lock is ours for write: even -> odd.
template <class P>
void BasicMmapLock<P>::seq_begin() noexcept {
  const uint64_t seq = seq_.load(std::memory_order_relaxed);
  PERVMA_DASSERT((seq & 1) == 0);
  // Release although nothing of this hold is written yet: who reads this value and finds no mark
  // must still see everything written under earlier holds.
  seq_.store(next_seq(seq),
             P::order(Site::seq_begins, std::memory_order_release));  // [S1] pairs with [S3]
  // No store of this hold may be seen before the odd value is.
  P::fence(P::order(Site::seq_begin_fence, std::memory_order_release));  // [S5] pairs with [S6]
  writes_.store(writes_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  P::Tracker::acquired(P::Tracker::Kind::mmap_write, this);
}

// Still ours for write: odd -> even, before anyone else can get in. Ends every VMA write lock.
template <class P>
void BasicMmapLock<P>::seq_end() noexcept {
  const uint64_t seq = seq_.load(std::memory_order_relaxed);
  PERVMA_ASSERT((seq & 1) != 0);
  seq_.store(next_seq(seq),
             P::order(Site::seq_ends, std::memory_order_release));  // [S2] pairs with [S3] and [S4]
}

}  // namespace pervma

// vma_lock_refcount.h: the default design: a 32-bit count in every VMA, 64-bit sequences, and
// readers that never wait.
//
//   vm_refcnt          the VMA is                                               new readers
//   0                  detached                                                 no: "detached"
//   1                  attached; write-locked when vm_lock_seq == mm_lock_seq   yes
//   2 .. kLimit        attached with value-1 readers, some perhaps backing out  yes, up to kLimit
//   kExclude           being detached, everybody gone                           no
//   kExclude+1         a writer has drained all readers, or a detacher waits    no
//   above              a writer or a detacher waits for readers                 no
//   kRetired+kExclude+n  retired with n readers inside, who are not waited for   no
//
// Only where the platform has last_out(): a retired object belongs to whoever leaves it last, which
// the exact value kRetired + kExclude tells. It is set by retire_attached(); nobody drains after.
//
// What can no longer happen: with kExclude set the count only falls; from 0 only attach() leads
// away, and it never becomes 0 by a reader. kExclude + kLimit fits 31 bits, so nothing overflows.
//
// Unlocked readers look at vm_refcnt and vm_lock_seq only, because the VMA's memory may have been
// freed and be somebody else's VMA by now (it stays a VMA: type-stable). So neither atomic is ever
// constructed anew, and init() leaves the count alone. Orders: tags [L], docs/memory-order.md.
#pragma once

#include <cstdint>
#include <string_view>

#include "sync/vma_lock.h"

namespace pervma {

template <class P>
class BasicRefcountLock {
 public:
  static constexpr std::string_view kName = "refcount";
  static constexpr bool kServesFaults = true;

  static constexpr uint32_t kExclude = uint32_t{1} << 30;
  static constexpr uint32_t kLimit = kExclude - 1;  // The largest value a reader may produce.
  static constexpr uint32_t kRetired = uint32_t{1} << 31;
  static constexpr uint64_t kNever = 0;  // A mark that no write hold's sequence equals.

  using Space = BasicMmapLock<P>;
  using StopToken = typename P::StopToken;
  using Token = NoToken;
  using Attempt = ReadAttempt<Token>;

  struct Near {
    // Changed under the mmap write lock with kExclude held, or while detached. Read exactly by the
    // write holder; read stale by begin_read(), which compares again after its increment.
    typename P::template Atomic<uint64_t> vm_lock_seq{kNever};
    // The space's lock, the VMA's `mm`. Written while detached, before attach(). Plain: it is read
    // only after a successful increment, which acquires from attach().
    typename P::template Plain<const Space*> owner{nullptr};
  };
  struct Far {
    typename P::template Atomic<uint32_t> vm_refcnt{0};  // The table above.
  };

  // For a VMA fresh from the allocator: detached, not marked. Never fails.
  static bool init(Near& near, Far& far, const Space& owner) noexcept;
  // The VMA goes back to the allocator: asserts that it is detached and nobody reads.
  static void retire(Near& near, Far& far) noexcept;

  // Tries to lock for reading. On `locked` the caller checks the bounds next, and ends the read
  // when they do not cover its address. Lock-free, never waits; one RMW, about 7 ns uncontended.
  static Attempt begin_read(Near& near, Far& far, const Space& space) noexcept;
  // The same under the mmap read lock: no writer can be met, only the limit of readers.
  static Attempt start_read_locked(Near& near, Far& far, const Space& space) noexcept;
  // A count that was taken stays valid until it is given back.
  static bool still_valid(const Near&, const Token&) noexcept { return true; }
  // Touches nothing of the VMA after the decrement: it may be freed by then. Wait-free.
  static void end_read(Far& far, const Token& token) noexcept;

  // Excludes readers until the mmap write hold ends. Waits for the readers that are inside; free
  // when already done under this hold. False: stopped while waiting, and everything is as before.
  [[nodiscard]] static bool lock_write(Near& near, Far& far, Space& space,
                                       const StopToken& stop = {}) noexcept;
  // Opens a detached, write-locked VMA to readers (who still see the mark until the hold ends).
  static void attach(Near& near, Far& far, Space& space) noexcept;
  // Closes a write-locked VMA; waits for readers that are backing out. Afterwards it may be freed
  // and reused at once.
  static void detach(Near& near, Far& far, Space& space) noexcept;

  // Closes an attached VMA to new readers for good, and waits for nobody: the last reader's end
  // calls P::last_out(). True: there was none, and the VMA is the caller's now. Wait-free.
  [[nodiscard]] static bool retire_attached(Far& far) noexcept;
  // The owner of a retired VMA makes it an unmarked, detached one.
  static void reclaim_retired(Near& near, Far& far) noexcept;

  // Exact for the holder of the mmap write lock.
  static bool is_write_locked(const Near& near, const Space& space) noexcept {
    return near.vm_lock_seq.load(std::memory_order_relaxed) == space.seq_relaxed() &&
           space.is_held_for_write();
  }
  static bool is_detached(const Far& far) noexcept {
    return far.vm_refcnt.load(std::memory_order_relaxed) == 0;
  }
  // Read-locked by somebody, or write-locked. In debug builds, read-locked by this thread.
  static bool is_read_locked_or_more(const Near& near, const Far& far, const Space& space) noexcept;
  // A moment's number of readers, those backing out included.
  static uint32_t reader_count(const Far& far) noexcept;

 private:
  static void leave(Far& far) noexcept;
  static bool drain(Far& far, uint32_t target, const StopToken& stop) noexcept;
};

template <class P>
inline bool BasicRefcountLock<P>::init(Near& near, Far& far, const Space& owner) noexcept {
  PERVMA_ASSERT(is_detached(far));
  near.vm_lock_seq.store(kNever, std::memory_order_relaxed);
  near.owner = &owner;
  return true;
}

template <class P>
inline void BasicRefcountLock<P>::retire(Near&, Far& far) noexcept {
  PERVMA_ASSERT_OP(far.vm_refcnt.load(std::memory_order_relaxed), ==, 0u);
}

template <class P>
inline typename BasicRefcountLock<P>::Attempt BasicRefcountLock<P>::begin_read(
    Near& near, Far& far, const Space& space) noexcept {
  // For speed only: a VMA that is marked now is not worth an exchange on its count.
  if (near.vm_lock_seq.load(std::memory_order_relaxed) == space.seq_relaxed()) {
    return {ReadTry::contended, {}};
  }
  // A guess instead of a load: mostly right, and the exchange fetches the line once, for writing.
  uint32_t n = 1;
  P::hook(Hook::read_before_increment);
  do {
    if (P::keep(Site::vma_reader_refuses_detached) && n == 0) return {ReadTry::detached, {}};
    // Full, or kExclude is set.
    if (P::keep(Site::vma_reader_refuses_exclude) && n >= kLimit) return {ReadTry::contended, {}};
  } while (!far.vm_refcnt.compare_exchange_weak(
      n, n + 1, P::order(Site::vma_enter, std::memory_order_acquire),  // [L2] with [L1] and [L5]
      std::memory_order_relaxed));
  P::hook(Hook::read_after_increment);
  // From here on the VMA stays what it is; but is it the one we looked up, and is it free?
  if (P::keep(Site::vma_reader_compares_owner) && near.owner != &space) {
    leave(far);
    return {ReadTry::detached, {}};
  }
  // A writer that marked after our increment waits for us; one that marked before it and is still
  // in is seen here. seq_acquire: a hold that has ended shows all it wrote.
  if (P::keep(Site::vma_reader_compares_seq) &&
      near.vm_lock_seq.load(std::memory_order_relaxed) == space.seq_acquire()) {
    leave(far);
    return {ReadTry::contended, {}};
  }
  P::Tracker::acquired(P::Tracker::Kind::vma_read, &far);
  return {ReadTry::locked, {}};
}

template <class P>
inline typename BasicRefcountLock<P>::Attempt BasicRefcountLock<P>::start_read_locked(
    Near& near, Far& far, const Space& space) noexcept {
  space.assert_held();
  PERVMA_DASSERT(near.owner == &space);
  uint32_t n = far.vm_refcnt.load(std::memory_order_relaxed);
  do {
    if (n == 0) return {ReadTry::detached, {}};
    if (n >= kLimit) return {ReadTry::contended, {}};
    // Relaxed: the mmap read lock has acquired all that earlier writers wrote.
  } while (!far.vm_refcnt.compare_exchange_weak(n, n + 1, std::memory_order_relaxed));
  P::Tracker::acquired(P::Tracker::Kind::vma_read, &far);
  return {ReadTry::locked, {}};
}

template <class P>
inline void BasicRefcountLock<P>::end_read(Far& far, const Token&) noexcept {
  P::Tracker::released(P::Tracker::Kind::vma_read, &far);
  leave(far);
}

template <class P>
inline void BasicRefcountLock<P>::leave(Far& far) noexcept {
  const auto* const address = &far.vm_refcnt;
  const uint32_t n = far.vm_refcnt.fetch_sub(
                         1, P::order(Site::vma_leave,
                                     std::memory_order_release)) -  // [L3] with [L4], [L6] to [L9]
                     1;
  PERVMA_DASSERT(n != 0 && n != kExclude - 1);  // More ends than begins.
  if ((P::keep(Site::vma_reader_wakes_detacher) && n == kExclude) ||
      (P::keep(Site::vma_reader_wakes_writer) && n == kExclude + 1)) {
    P::hook(Hook::read_before_wake);
    P::wake_one(address);  // One waiter at most: both kinds hold the mmap write lock.
  }
  if constexpr (requires { P::last_out(far.vm_refcnt); }) {
    if (P::keep(Site::vma_reader_ends_retired) && n == kRetired + kExclude) {
      // Reads this thread's own exchange, the end of the release sequence of all that left before.
      (void)far.vm_refcnt.load(
          P::order(Site::vma_last_out, std::memory_order_acquire));  // [L8] with [L3] and [L9]
      P::last_out(far.vm_refcnt);
    }
  }
}

template <class P>
inline bool BasicRefcountLock<P>::retire_attached(Far& far) noexcept {
  // One step, as in detach(). It takes the attachment's own count away.
  const uint32_t before = far.vm_refcnt.fetch_add(
      kRetired + kExclude - 1,
      P::order(Site::vma_retire, std::memory_order_acq_rel));  // [L9] pairs with [L3] and [L8]
  PERVMA_DASSERT(before != 0 && before < kExclude);
  return before == 1;
}

template <class P>
inline void BasicRefcountLock<P>::reclaim_retired(Near& near, Far& far) noexcept {
  PERVMA_DASSERT_OP(far.vm_refcnt.load(std::memory_order_relaxed), ==, kRetired + kExclude);
  near.vm_lock_seq.store(kNever, std::memory_order_relaxed);
  far.vm_refcnt.store(0, std::memory_order_relaxed);
}

template <class P>
bool BasicRefcountLock<P>::lock_write(Near& near, Far& far, Space& space,
                                      const StopToken& stop) noexcept {
  space.assert_held_write();
  PERVMA_DASSERT(near.owner == &space);
  const uint64_t seq = space.seq_relaxed();
  if (near.vm_lock_seq.load(std::memory_order_relaxed) == seq) return true;
  // Only a holder of the mmap write lock attaches or detaches: 0 stays 0, anything else not 0.
  if (is_detached(far)) {
    near.vm_lock_seq.store(seq, std::memory_order_relaxed);
    return true;
  }
  P::Tracker::about_to_drain_vma(&far);
  const uint32_t before = far.vm_refcnt.fetch_add(
      kExclude, P::order(Site::vma_exclude, std::memory_order_acquire));  // [L4] pairs with [L3]
  PERVMA_DASSERT(before < kExclude);
  if (P::keep(Site::vma_writer_drains) && before != 1 && !drain(far, kExclude + 1, stop)) {
    P::hook(Hook::write_before_abort);
    if (P::keep(Site::vma_abort_restores)) {
      far.vm_refcnt.fetch_sub(kExclude, std::memory_order_relaxed);
    }
    return false;
  }
  if (P::keep(Site::vma_writer_marks_inside)) {
    near.vm_lock_seq.store(seq, std::memory_order_relaxed);
  }
  far.vm_refcnt.fetch_sub(
      kExclude, P::order(Site::vma_exclude_ends, std::memory_order_release));  // [L5] with [L2]
  if (!P::keep(Site::vma_writer_marks_inside)) {
    near.vm_lock_seq.store(seq, std::memory_order_relaxed);
  }
  return true;
}

template <class P>
void BasicRefcountLock<P>::attach(Near& near, Far& far, Space& space) noexcept {
  space.assert_held_write();
  PERVMA_ASSERT(is_write_locked(near, space));
  PERVMA_ASSERT(is_detached(far));
  far.vm_refcnt.store(1, P::order(Site::vma_attach, std::memory_order_release));  // [L1] with [L2]
}

template <class P>
void BasicRefcountLock<P>::detach(Near& near, Far& far, Space& space) noexcept {
  space.assert_held_write();
  PERVMA_ASSERT(is_write_locked(near, space));
  uint32_t n = 1;
  if (far.vm_refcnt.compare_exchange_strong(
          n, 0, P::order(Site::vma_detach, std::memory_order_acquire),  // [L7] pairs with [L3]
          std::memory_order_relaxed)) {
    return;
  }
  PERVMA_ASSERT_OP(n, !=, 0u);  // Detached twice.
  P::Tracker::about_to_drain_vma(&far);
  P::hook(Hook::detach_before_exclude);
  // One step: between a decrement and the exclusion a reader could find the VMA neither way.
  if (P::keep(Site::vma_detach_in_one_step)) {
    far.vm_refcnt.fetch_add(kExclude - 1, std::memory_order_relaxed);
  } else {
    far.vm_refcnt.fetch_sub(1, std::memory_order_relaxed);
    far.vm_refcnt.fetch_add(kExclude, std::memory_order_relaxed);
  }
  P::hook(Hook::detach_after_exclude);
  if (P::keep(Site::vma_detach_drains)) (void)drain(far, kExclude, StopToken{});
  far.vm_refcnt.fetch_sub(kExclude, std::memory_order_relaxed);
}

// Waits until the count has fallen to `target`. False: stopped first.
template <class P>
bool BasicRefcountLock<P>::drain(Far& far, uint32_t target, const StopToken& stop) noexcept {
  P::hook(Hook::write_after_exclude);
  typename P::Spinner spinner(SpinBudget::full);
  typename P::Sleeper sleeper(far.vm_refcnt, stop);
  for (;;) {
    const uint32_t n = far.vm_refcnt.load(
        P::order(Site::vma_drained, std::memory_order_acquire));  // [L6] pairs with [L3]
    if (n == target) return true;
    PERVMA_DASSERT_OP(n, >, target);
    if (stop.stop_requested()) return false;
    if (spinner.spin()) continue;
    P::hook(Hook::write_before_sleep);
    if (!sleeper.sleep(n)) return false;
  }
}

template <class P>
inline bool BasicRefcountLock<P>::is_read_locked_or_more(const Near& near, const Far& far,
                                                         const Space& space) noexcept {
  if (is_write_locked(near, space)) return true;
  // A waiting writer's kExclude does not make the readers go away.
  const uint32_t n = far.vm_refcnt.load(std::memory_order_relaxed);
  return (n & ~kExclude) > 1 && P::Tracker::may_hold(P::Tracker::Kind::vma_read, &far);
}

template <class P>
inline uint32_t BasicRefcountLock<P>::reader_count(const Far& far) noexcept {
  const uint32_t n = far.vm_refcnt.load(std::memory_order_relaxed);
  if ((n & kRetired) != 0) return n - kRetired - kExclude;
  const uint32_t inside = n & ~kExclude;
  return inside > 1 ? inside - 1 : 0;
}

}  // namespace pervma

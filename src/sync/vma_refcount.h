// vma_refcount.h: the count word of the designs `refcount` and `scalable`: readers that never wait,
// a writer that keeps new ones out and waits for those inside.
//
//   value              the VMA is                                                new readers
//   0                  detached                                                  no: "detached"
//   1                  attached; write-locked when vm_lock_seq == mm_lock_seq    yes
//   2 .. kLimit        attached with value-1 readers, some perhaps backing out   yes, up to kLimit
//   kExclude           being detached, everybody gone                            no
//   kExclude+1         a writer has drained all readers, or a detacher waits     no
//   above              a writer or a detacher waits for readers                  no
//   kRetired+kExclude+n  retired with n readers inside, who are not waited for   no
//
// Only where the platform has last_out(): a retired object belongs to whoever leaves it last, which
// the exact value kRetired + kExclude tells. It is set by retire(); nobody drains after.
//
// What can no longer happen: with kExclude set the count only falls; from 0 only open() leads away,
// and it never becomes 0 by a reader. kExclude + kLimit fits 31 bits, so nothing overflows.
//
// Functions on an atomic that lies elsewhere: the word's memory may have been freed and be another
// VMA's word by now, so nothing constructs it anew. Orders: tags [L], docs/memory-order.md.
#pragma once

#include <cstdint>

#include "sync/assert.h"
#include "sync/platform.h"
#include "sync/vma_entry.h"

namespace pervma {

template <class P>
class BasicVmaRefcount {
 public:
  static constexpr uint32_t kExclude = uint32_t{1} << 30;
  static constexpr uint32_t kLimit = kExclude - 1;  // The largest value a reader may produce.

  static constexpr uint32_t kRetired = uint32_t{1} << 31;

  using Word = typename P::template Atomic<uint32_t>;
  using StopToken = typename P::StopToken;

  // --- readers -----------------------------------------------------------------------------------

  // Lock-free, never waits. `n` is a guess instead of a load: mostly right, and the exchange
  // fetches the line once, for writing.
  static Entry try_enter(Word& word, uint32_t n = 1) noexcept {
    P::hook(Hook::read_before_increment);
    do {
      if (P::keep(Site::vma_reader_refuses_detached) && n == 0) return Entry::detached;
      // Full, or kExclude is set.
      if (P::keep(Site::vma_reader_refuses_exclude) && n >= kLimit) return Entry::closed;
    } while (!word.compare_exchange_weak(
        n, n + 1, P::order(Site::vma_enter, std::memory_order_acquire),  // [L2] with [L1] and [L5]
        std::memory_order_relaxed));
    return Entry::entered;
  }
  // The same for who keeps writers out otherwise: relaxed, because the mmap read lock has acquired
  // all that earlier writers wrote.
  static Entry try_enter_kept(Word& word) noexcept {
    uint32_t n = word.load(std::memory_order_relaxed);
    do {
      if (P::keep(Site::vma_kept_refuses_detached) && n == 0) return Entry::detached;
      if (P::keep(Site::vma_kept_refuses_full) && n >= kLimit) return Entry::closed;
    } while (!word.compare_exchange_weak(n, n + 1, std::memory_order_relaxed));
    return Entry::entered;
  }
  // Touches nothing after the decrement: the word may be freed by then. Wait-free.
  static void leave(Word& word) noexcept {
    const Word* const address = &word;
    const uint32_t before = word.fetch_sub(
        1, P::order(Site::vma_leave, std::memory_order_release));  // [L3] with [L4], [L6] to [L9]
    const uint32_t n = before - 1;
    PERVMA_DASSERT(n != 0 && n != kExclude - 1);  // More ends than begins.
    if ((P::keep(Site::vma_reader_wakes_detacher) && n == kExclude) ||
        (P::keep(Site::vma_reader_wakes_writer) && n == kExclude + 1)) {
      P::hook(Hook::read_before_wake);
      P::wake_one(address);  // One waiter at most: both kinds hold the mmap write lock.
    }
    if constexpr (requires { P::last_out(word); }) {
      if (P::keep(Site::vma_reader_ends_retired) && n == kRetired + kExclude) {
        // Reads this thread's own exchange, the end of the release sequence of all that left
        // before.
        (void)word.load(
            P::order(Site::vma_last_out, std::memory_order_acquire));  // [L8] with [L3] and [L9]
        P::last_out(word);
      }
    }
  }

  // --- the holder of the mmap write lock ---------------------------------------------------------

  // Keeps new readers out and waits for those inside. False: stopped first, and all is as before.
  [[nodiscard]] static bool exclude(Word& word, const StopToken& stop) noexcept {
    const uint32_t before = word.fetch_add(
        kExclude, P::order(Site::vma_exclude, std::memory_order_acquire));  // [L4] pairs with [L3]
    PERVMA_DASSERT(before < kExclude);
    if (P::keep(Site::vma_writer_drains) && before != 1 && !drain(word, kExclude + 1, stop)) {
      P::hook(Hook::write_before_abort);
      if (P::keep(Site::vma_abort_restores)) word.fetch_sub(kExclude, std::memory_order_relaxed);
      return false;
    }
    return true;
  }
  // Lets them in again; they see what was written meanwhile.
  static void admit(Word& word) noexcept {
    word.fetch_sub(kExclude,
                   P::order(Site::vma_exclude_ends, std::memory_order_release));  // [L5] L2, H3
  }
  // Opens a detached VMA's word; readers see what was written before.
  static void open(Word& word) noexcept {
    word.store(1, P::order(Site::vma_attach, std::memory_order_release));  // [L1] with [L2], [H3]
  }
  // Closes the word of a VMA that is write-locked; waits for readers that are backing out.
  static void close(Word& word) noexcept {
    uint32_t n = 1;
    if (word.compare_exchange_strong(
            n, 0, P::order(Site::vma_detach, std::memory_order_acquire),  // [L7] pairs with [L3]
            std::memory_order_relaxed)) {
      return;
    }
    PERVMA_ASSERT_OP(n, !=, 0u);  // Detached twice.
    P::hook(Hook::detach_before_exclude);
    // One step: between a decrement and the exclusion a reader could find the VMA neither way.
    if (P::keep(Site::vma_detach_in_one_step)) {
      word.fetch_add(kExclude - 1, std::memory_order_relaxed);
    } else {
      word.fetch_sub(1, std::memory_order_relaxed);
      word.fetch_add(kExclude, std::memory_order_relaxed);
    }
    P::hook(Hook::detach_after_exclude);
    if (P::keep(Site::vma_detach_drains)) (void)drain(word, kExclude, StopToken{});
    word.fetch_sub(kExclude, std::memory_order_relaxed);
  }

  // Closes an attached VMA's word for good, and waits for nobody: the last reader to leave calls
  // P::last_out(). True: there was none.
  [[nodiscard]] static bool retire(Word& word) noexcept {
    // One step, as in close(). It takes the attachment's own count away.
    const uint32_t before = word.fetch_add(
        kRetired + kExclude - 1,
        P::order(Site::vma_retire, std::memory_order_acq_rel));  // [L9] pairs with [L3] and [L8]
    PERVMA_DASSERT(before != 0 && before < kExclude);
    return before == 1;
  }
  // The owner of a retired word makes it a detached one.
  static void reclaim(Word& word) noexcept {
    PERVMA_DASSERT_OP(word.load(std::memory_order_relaxed), ==, kRetired + kExclude);
    word.store(0, std::memory_order_relaxed);
  }

  // --- questions ---------------------------------------------------------------------------------

  static bool is_open(const Word& word) noexcept {
    return word.load(std::memory_order_relaxed) != 0;
  }
  // A moment's number of readers, those backing out included; a waiting writer's kExclude does not
  // make them go away.
  static uint32_t readers(const Word& word) noexcept {
    const uint32_t n = word.load(std::memory_order_relaxed);
    if ((n & kRetired) != 0) return n - kRetired - kExclude;
    const uint32_t inside = n & ~kExclude;
    return inside > 1 ? inside - 1 : 0;
  }

 private:
  // Waits until the count has fallen to `target`. False: stopped first.
  static bool drain(Word& word, uint32_t target, const StopToken& stop) noexcept {
    P::hook(Hook::write_after_exclude);
    tell<P>(Probe::writer_wait_begin, &word);
    const bool drained = wait_until(word, target, stop);
    tell<P>(Probe::writer_wait_end, &word);
    return drained;
  }
  static bool wait_until(Word& word, uint32_t target, const StopToken& stop) noexcept {
    typename P::Spinner spinner(SpinBudget::full);
    typename P::Sleeper sleeper(word, stop);
    for (;;) {
      const uint32_t n = word.load(
          P::order(Site::vma_drained, std::memory_order_acquire));  // [L6] pairs with [L3]
      if (n == target) return true;
      PERVMA_DASSERT_OP(n, >, target);
      if (stop.stop_requested()) return false;
      if (spinner.spin()) continue;
      P::hook(Hook::write_before_sleep);
      if (!sleeper.sleep(n)) return false;
    }
  }
};

}  // namespace pervma

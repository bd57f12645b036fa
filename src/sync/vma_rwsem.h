// vma_rwsem.h: the word of the designs `rwsem` and `rwsem_split`: a reader/writer semaphore of
// which readers only ever try. There is one writer at a time, the holder of the mmap write lock.
//
//   value           the VMA is                               new readers
//   0               attached, free                           yes
//   1 .. kLimit     attached, with so many readers           yes, up to kLimit
//   kWaits + n      attached; a writer waits for n readers   no
//   kWriter         held by a writer                         no
//   kDetached       detached                                 no: "detached"
//
// What can no longer happen: with kWaits set the number only falls, so a stream of readers cannot
// starve the writer; under kWriter and kDetached only the writer changes the word. Orders: tags
// [X].
#pragma once

#include <cstdint>

#include "sync/assert.h"
#include "sync/platform.h"
#include "sync/vma_entry.h"

namespace pervma {

template <class P>
class BasicVmaRwsem {
 public:
  using StopToken = typename P::StopToken;

  static constexpr uint32_t kWaits = uint32_t{1} << 30;
  static constexpr uint32_t kWriter = uint32_t{1} << 31;
  static constexpr uint32_t kDetached = kWriter | 1;
  static constexpr uint32_t kLimit = kWaits - 1;

  // Lock-free, never waits.
  Entry try_enter() noexcept {
    uint32_t n = 0;  // A guess instead of a load.
    P::hook(Hook::read_before_increment);
    do {
      if (P::keep(Site::rwsem_reader_knows_detached) && n == kDetached) return Entry::detached;
      if (P::keep(Site::rwsem_reader_refuses_writer) && n >= kLimit) return Entry::closed;
    } while (!word_.compare_exchange_weak(
        n, n + 1, P::order(Site::rwsem_enter, std::memory_order_acquire),  // [X1] with [X5], [X6]
        std::memory_order_relaxed));
    return Entry::entered;
  }
  // Touches nothing after the decrement. Wait-free.
  void leave() noexcept {
    const auto* const address = &word_;
    const uint32_t before = word_.fetch_sub(
        1, P::order(Site::rwsem_leave, std::memory_order_release));  // [X2] with [X3] and [X4]
    PERVMA_DASSERT((before & ~kWaits) - 1 < kLimit);                 // More ends than begins.
    if (P::keep(Site::rwsem_reader_wakes_writer) && before == kWaits + 1) {
      P::hook(Hook::read_before_wake);
      P::wake_one(address);
    }
  }

  // Takes it for write; waits for the readers inside. False: stopped first, and all is as before.
  [[nodiscard]] bool exclude(const StopToken& stop) noexcept {
    uint32_t n = 0;
    if (word_.compare_exchange_strong(
            n, kWriter, P::order(Site::rwsem_take, std::memory_order_acquire),  // [X3] with [X2]
            std::memory_order_relaxed)) {
      return true;
    }
    PERVMA_ASSERT_OP(n, <, kWaits);  // Detached, or taken twice.
    tell<P>(Probe::writer_wait_begin, &word_);
    const bool drained = !P::keep(Site::rwsem_writer_drains) || drain(stop);
    tell<P>(Probe::writer_wait_end, &word_);
    if (!drained) {
      P::hook(Hook::write_before_abort);
      if (P::keep(Site::rwsem_abort_restores)) word_.fetch_and(~kWaits, std::memory_order_relaxed);
      return false;
    }
    word_.store(kWriter, std::memory_order_relaxed);  // Nobody else changes kWaits alone.
    return true;
  }
  void admit() noexcept {
    word_.store(0, P::order(Site::rwsem_admit, std::memory_order_release));  // [X5] with [X1]
  }
  void open() noexcept {
    word_.store(0, P::order(Site::rwsem_open, std::memory_order_release));  // [X6] with [X1]
  }
  void close() noexcept {
    if (P::keep(Site::rwsem_detach_drains)) (void)exclude(StopToken{});
    word_.store(kDetached, std::memory_order_relaxed);
  }

  bool is_open() const noexcept { return word_.load(std::memory_order_relaxed) != kDetached; }
  uint32_t readers() const noexcept {
    const uint32_t n = word_.load(std::memory_order_relaxed);
    return n >= kWriter ? 0 : n & ~kWaits;
  }

 private:
  bool drain(const StopToken& stop) noexcept {
    if (P::keep(Site::rwsem_waits)) word_.fetch_or(kWaits, std::memory_order_relaxed);
    P::hook(Hook::write_after_exclude);
    typename P::Spinner spinner(SpinBudget::full);
    typename P::Sleeper sleeper(word_, stop);
    for (;;) {
      const uint32_t n = word_.load(
          P::order(Site::rwsem_drained, std::memory_order_acquire));  // [X4] pairs with [X2]
      if (n == kWaits) return true;
      if (stop.stop_requested()) return false;
      if (spinner.spin()) continue;
      P::hook(Hook::write_before_sleep);
      if (!sleeper.sleep(n)) return false;
    }
  }

  typename P::template Atomic<uint32_t> word_{kDetached};
};

}  // namespace pervma

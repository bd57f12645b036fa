// vma_count.h: the word of the design `count`: a signed count of readers, and a writer that waits
// for it to be 0.
//
//   value           the VMA is                                     new readers
//   0               attached, free                                 yes
//   1 .. kLimit     attached, with so many readers                 yes, up to kLimit
//   kSleeps + n     attached, n readers; a writer sleeps           yes, up to kLimit
//   -1              held by a writer                               no
//   kDetached       detached (the most negative value)             no: "detached"
//
// Its weakness is its point: a waiting writer keeps nobody out, so readers that overlap one another
// starve it for as long as they come. Under a negative value only the writer changes the word.
// Orders: tags [N].
#pragma once

#include <cstdint>

#include "sync/assert.h"
#include "sync/platform.h"
#include "sync/vma_entry.h"

namespace pervma {

template <class P>
class BasicVmaCount {
 public:
  using StopToken = typename P::StopToken;

  static constexpr uint32_t kSleeps = uint32_t{1} << 30;
  static constexpr uint32_t kLimit = kSleeps - 1;
  static constexpr uint32_t kNegative = uint32_t{1} << 31;
  static constexpr uint32_t kWriter = ~uint32_t{0};  // -1
  static constexpr uint32_t kDetached = kNegative;

  // Lock-free, never waits.
  Entry try_enter() noexcept {
    uint32_t n = 0;  // A guess instead of a load.
    P::hook(Hook::read_before_increment);
    do {
      if (P::keep(Site::count_reader_refuses_detached) && n == kDetached) return Entry::detached;
      // Full, or the writer's -1.
      if (P::keep(Site::count_reader_refuses_writer) && (n & kLimit) == kLimit) {
        return Entry::closed;
      }
    } while (!word_.compare_exchange_weak(
        n, n + 1, P::order(Site::count_enter, std::memory_order_acquire),  // [N1] with [N4], [N5]
        std::memory_order_relaxed));
    return Entry::entered;
  }
  // Touches nothing after the decrement. Wait-free.
  void leave() noexcept {
    const auto* const address = &word_;
    const uint32_t before = word_.fetch_sub(
        1, P::order(Site::count_leave, std::memory_order_release));  // [N2] pairs with [N3]
    PERVMA_DASSERT(before < kNegative && (before & kLimit) != 0);    // More ends than begins.
    if (P::keep(Site::count_reader_wakes_writer) && before == kSleeps + 1) {
      P::hook(Hook::read_before_wake);
      P::wake_one(address);
    }
  }

  // Takes it for write once no reader is inside, which may be never. False: stopped first, and all
  // is as before.
  [[nodiscard]] bool exclude(const StopToken& stop) noexcept {
    uint32_t nobody = 0;
    if (word_.compare_exchange_strong(
            nobody, kWriter,
            P::order(Site::count_take, std::memory_order_acquire),  // [N3] pairs with [N2]
            std::memory_order_relaxed)) {
      return true;
    }
    tell<P>(Probe::writer_wait_begin, &word_);
    const bool taken = take_when_empty(stop);
    tell<P>(Probe::writer_wait_end, &word_);
    return taken;
  }
  void admit() noexcept {
    word_.store(0, P::order(Site::count_admit, std::memory_order_release));  // [N4] with [N1]
  }
  void open() noexcept {
    word_.store(0, P::order(Site::count_open, std::memory_order_release));  // [N5] with [N1]
  }
  void close() noexcept {
    if (P::keep(Site::count_detach_drains)) (void)exclude(StopToken{});
    word_.store(kDetached, std::memory_order_relaxed);
  }

  bool is_open() const noexcept { return word_.load(std::memory_order_relaxed) != kDetached; }
  uint32_t readers() const noexcept {
    const uint32_t n = word_.load(std::memory_order_relaxed);
    return n >= kNegative ? 0 : n & kLimit;
  }

 private:
  bool take_when_empty(const StopToken& stop) noexcept {
    typename P::Spinner spinner(SpinBudget::full);
    typename P::Sleeper sleeper(word_, stop);
    uint32_t n = 0;
    while (!word_.compare_exchange_weak(
        n, kWriter, P::order(Site::count_take, std::memory_order_acquire),  // [N3] pairs with [N2]
        std::memory_order_relaxed)) {
      PERVMA_ASSERT_OP(n, <, kNegative);  // Detached, or taken twice.
      if ((n & kLimit) == 0 || !P::keep(Site::count_writer_drains)) continue;
      if (!wait(n, spinner, sleeper, stop)) {
        P::hook(Hook::write_before_abort);
        if (P::keep(Site::count_abort_restores))
          word_.fetch_and(~kSleeps, std::memory_order_relaxed);
        return false;
      }
      n = word_.load(std::memory_order_relaxed) & kSleeps;  // Hopes for nobody inside.
    }
    return true;
  }

  // Passes the time while the word is `n`, with readers inside. False: stopped.
  template <class Spinner, class Sleeper>
  bool wait(uint32_t n, Spinner& spinner, Sleeper& sleeper, const StopToken& stop) noexcept {
    P::hook(Hook::write_after_exclude);
    if (stop.stop_requested()) return false;
    if (spinner.spin()) return true;
    const uint32_t asleep = P::keep(Site::count_announces_sleep) ? n | kSleeps : n;
    if (n != asleep && !word_.compare_exchange_strong(n, asleep, std::memory_order_relaxed)) {
      return true;
    }
    P::hook(Hook::write_before_sleep);
    return sleeper.sleep(asleep);
  }

  typename P::template Atomic<uint32_t> word_{kDetached};
};

}  // namespace pervma

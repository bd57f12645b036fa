#include "sync/futex.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <climits>

namespace pervma {
namespace {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t) &&
                  std::atomic<uint32_t>::is_always_lock_free,
              "the kernel compares the word itself");

void futex(const std::atomic<uint32_t>* word, int operation, uint32_t value) noexcept {
  syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr, 0);
}

}  // namespace

void futex_wait(const std::atomic<uint32_t>& word, uint32_t expected) noexcept {
  futex(&word, FUTEX_WAIT, expected);
}

void futex_wake_one(const std::atomic<uint32_t>* word) noexcept { futex(word, FUTEX_WAKE, 1); }

void futex_wake_all(const std::atomic<uint32_t>* word) noexcept {
  futex(word, FUTEX_WAKE, INT_MAX);
}

FutexSleeper::~FutexSleeper() {
  // Before the callback is destroyed: its destructor waits for a requester that waits for this.
  answered_.store(true, std::memory_order_relaxed);
  callback_.reset();
}

bool FutexSleeper::sleep(uint32_t expected) noexcept {
  if (!stop_.stop_possible()) {
    futex_wait(word_, expected);
    return true;
  }
  if (!callback_) callback_.emplace(stop_, Request{this});
  if (!stopped_.load(std::memory_order_relaxed)) futex_wait(word_, expected);
  return !stopped_.load(std::memory_order_relaxed);
}

void FutexSleeper::on_stop() noexcept {
  stopped_.store(true, std::memory_order_relaxed);
  // The token was stopped before the registration: this is the sleeper itself, still awake.
  if (pthread_equal(pthread_self(), thread_) != 0) return;
  for (int round = 0; !answered_.load(std::memory_order_relaxed); ++round) {
    futex_wake_all(&word_);
    if (round < 64) {
      sched_yield();
    } else {
      // A real-time requester's yield lets nobody of lower priority run.
      const timespec moment{.tv_sec = 0, .tv_nsec = 20'000};
      nanosleep(&moment, nullptr);
    }
  }
}

}  // namespace pervma

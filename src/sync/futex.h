// futex.h: sleeping on a 32-bit word and waking by address, and a sleep that a stop token can end.
//
// Wakes are raw FUTEX_WAKE_PRIVATE: the kernel takes the address as a key and never looks at the
// memory, so waking a word that was freed, reused or unmapped in the meantime is harmless. The
// price is that every sleeper must expect to wake for nothing: all of them loop on the word.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <stop_token>

namespace pervma {

// Sleeps while `word` is `expected`; returns at once when it is not. May return for nothing.
void futex_wait(const std::atomic<uint32_t>& word, uint32_t expected) noexcept;
void futex_wake_one(const std::atomic<uint32_t>* word) noexcept;
void futex_wake_all(const std::atomic<uint32_t>* word) noexcept;

// One thread's sleep on one word that a stop request can end. The word itself cannot carry the
// request (other threads own its value), so the requester repeats the wake-up until the sleeper has
// answered: a sleeper that had checked the token but was not yet asleep cannot be missed.
class FutexSleeper {
 public:
  // Registers with the token at the first sleep() only; a token that can never stop costs nothing.
  FutexSleeper(const std::atomic<uint32_t>& word, const std::stop_token& stop) noexcept
      : word_(word), stop_(stop) {}
  ~FutexSleeper();
  FutexSleeper(const FutexSleeper&) = delete;
  FutexSleeper& operator=(const FutexSleeper&) = delete;

  // Sleeps while the word is `expected`; may return true for nothing. False: a stop was requested.
  [[nodiscard]] bool sleep(uint32_t expected) noexcept;

 private:
  struct Request {
    FutexSleeper* sleeper;
    void operator()() const noexcept { sleeper->on_stop(); }
  };
  void on_stop() noexcept;

  const std::atomic<uint32_t>& word_;
  const std::stop_token& stop_;
  const pthread_t thread_ = pthread_self();
  std::atomic<bool> stopped_{false};   // Relaxed: it only says "do not sleep", no data follows it.
  std::atomic<bool> answered_{false};  // Relaxed: ~stop_callback orders the end of on_stop().
  std::optional<std::stop_callback<Request>> callback_;
};

}  // namespace pervma

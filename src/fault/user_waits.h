// user_waits.h: who waits for an answer of the embedder: the faults that were told and are not
// woken yet, of one UserFaults.
//
// A fault enters the list under the lock that keeps its VMA, and looks at its page once more; only
// then it lets go of the lock and is told. Whoever brings the page wakes the range afterwards: a
// fault that was too late to be woken has seen the page. The list's mutex is a leaf.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>

#include "pervma/user_fault.h"
#include "vm/user_context.h"

namespace pervma {

class UserWait;

class UserWaits final : public UserContext {
 public:
  explicit UserWaits(const UserFaultOptions& options) noexcept : options_(options) {}

  bool protects_unpopulated() const noexcept { return options_.protect_unpopulated; }

  std::optional<UserFault> next(const std::stop_token& stop) noexcept;
  std::optional<UserFault> try_next() noexcept;
  void wake(Range range) noexcept;
  // Nobody is told any more and everybody looks again; waits for calls of the handler.
  void close() noexcept;
  UserFaultCounters counters() const noexcept;

 private:
  friend class UserWait;

  void enter(UserWait& wait) noexcept;
  void leave(UserWait& wait) noexcept;
  bool begin_call(UserWait& wait) noexcept;
  void end_call() noexcept;
  void offer(UserWait& wait) noexcept;
  UserFaultAnswer ask(const UserFault& fault, const std::stop_token& stop) noexcept;

  const UserFaultOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable calls_ended_;
  UserWait* first_ = nullptr;  // this and what follows: under the mutex
  UserWait* last_ = nullptr;
  uint32_t calls_ = 0;
  bool closed_ = false;
  UserFaultCounters counters_;
  std::atomic<uint32_t> offers_{
      0};  // rises with each fault that next() may have: what it sleeps on
};

// One fault's place in the list, on its thread's stack.
class UserWait {
 public:
  // Takes a reference of the list: the VMA may be gone before the wait is.
  UserWait(UserWaits& waits, const UserFault& fault) noexcept;
  ~UserWait();
  UserWait(const UserWait&) = delete;
  UserWait& operator=(const UserWait&) = delete;

  // Before it is told: what it is now.
  void set(const UserFault& fault) noexcept;

  enum class End : uint8_t { woken, answered, refused, interrupted };
  // Tells the fault and waits. No lock of the space is held.
  [[nodiscard]] End tell(const std::stop_token& stop) noexcept;
  void count_nonsense() noexcept;

 private:
  friend class UserWaits;

  UserWaits& waits_;  // held
  // This and what follows: under the list's mutex, which the thread itself may read without.
  UserFault fault_;
  UserWait* next_ = nullptr;
  UserWait* prev_ = nullptr;
  bool offered_ = false;
  std::atomic<uint32_t> woken_{0};  // written under the mutex; slept on
};

}  // namespace pervma

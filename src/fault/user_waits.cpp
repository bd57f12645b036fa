#include "fault/user_waits.h"

#include "sync/assert.h"
#include "sync/futex.h"

namespace pervma {

void UserWaits::enter(UserWait& wait) noexcept {
  const std::scoped_lock lock(mutex_);
  wait.prev_ = last_;
  (last_ != nullptr ? last_->next_ : first_) = &wait;
  last_ = &wait;
}

void UserWaits::leave(UserWait& wait) noexcept {
  const std::scoped_lock lock(mutex_);
  (wait.prev_ != nullptr ? wait.prev_->next_ : first_) = wait.next_;
  (wait.next_ != nullptr ? wait.next_->prev_ : last_) = wait.prev_;
}

void UserWaits::wake(Range range) noexcept {
  const std::scoped_lock lock(mutex_);
  for (UserWait* w = first_; w != nullptr; w = w->next_) {
    if (!range.contains(w->fault_.address)) continue;
    w->woken_.store(1, std::memory_order_relaxed);
    futex_wake_all(&w->woken_);
  }
}

std::optional<UserFault> UserWaits::try_next() noexcept {
  const std::scoped_lock lock(mutex_);
  for (UserWait* w = first_; w != nullptr; w = w->next_) {
    if (!w->offered_ || w->woken_.load(std::memory_order_relaxed) != 0) continue;
    w->offered_ = false;
    return w->fault_;
  }
  return std::nullopt;
}

std::optional<UserFault> UserWaits::next(const std::stop_token& stop) noexcept {
  FutexSleeper sleeper(offers_, stop);
  while (!stop.stop_requested()) {
    // Before the look: an offer that comes after it ends the sleep.
    const uint32_t seen = offers_.load(std::memory_order_relaxed);
    if (std::optional<UserFault> fault = try_next()) return fault;
    if (!sleeper.sleep(seen)) break;
  }
  return std::nullopt;
}

void UserWaits::close() noexcept {
  std::unique_lock lock(mutex_);
  closed_ = true;
  for (UserWait* w = first_; w != nullptr; w = w->next_) {
    w->woken_.store(1, std::memory_order_relaxed);
    futex_wake_all(&w->woken_);
  }
  calls_ended_.wait(lock, [this] { return calls_ == 0; });
}

UserFaultCounters UserWaits::counters() const noexcept {
  const std::scoped_lock lock(mutex_);
  return counters_;
}

// False: it was woken already, or nobody is told any more.
bool UserWaits::begin_call(UserWait& wait) noexcept {
  const std::scoped_lock lock(mutex_);
  if (closed_ || wait.woken_.load(std::memory_order_relaxed) != 0) return false;
  ++counters_.told;
  ++calls_;
  return true;
}

void UserWaits::end_call() noexcept {
  const std::scoped_lock lock(mutex_);
  if (--calls_ == 0) calls_ended_.notify_all();
}

void UserWaits::offer(UserWait& wait) noexcept {
  const std::scoped_lock lock(mutex_);
  wait.offered_ = true;
  offers_.fetch_add(1, std::memory_order_relaxed);
  futex_wake_one(&offers_);
}

UserFaultAnswer UserWaits::ask(const UserFault& fault, const std::stop_token& stop) noexcept {
  if (options_.handler == nullptr) return UserFaultAnswer::wait;
  uint64_t UserFaultCounters::* wrong = &UserFaultCounters::nonsense;
  try {
    const UserFaultAnswer answer = options_.handler->fault(fault, stop);
    switch (answer) {
      case UserFaultAnswer::look_again:
      case UserFaultAnswer::wait:
      case UserFaultAnswer::bus_error: return answer;
    }
  } catch (...) {
    wrong = &UserFaultCounters::threw;
  }
  const std::scoped_lock lock(mutex_);
  ++(counters_.*wrong);
  return UserFaultAnswer::bus_error;
}

UserWait::UserWait(UserWaits& waits, const UserFault& fault) noexcept
    : waits_(waits), fault_(fault) {
  waits_.hold();
  waits_.enter(*this);
}

UserWait::~UserWait() {
  waits_.leave(*this);
  waits_.drop();
}

void UserWait::set(const UserFault& fault) noexcept {
  const std::scoped_lock lock(waits_.mutex_);
  fault_ = fault;
}

UserWait::End UserWait::tell(const std::stop_token& stop) noexcept {
  if (!waits_.begin_call(*this)) return End::woken;
  const UserFaultAnswer answer = waits_.ask(fault_, stop);
  if (answer == UserFaultAnswer::wait) waits_.offer(*this);
  waits_.end_call();
  if (answer == UserFaultAnswer::look_again) return End::answered;
  if (answer == UserFaultAnswer::bus_error) return End::refused;
  {
    FutexSleeper sleeper(woken_, stop);
    while (woken_.load(std::memory_order_relaxed) == 0) {
      if (!sleeper.sleep(0)) break;
    }
  }
  if (woken_.load(std::memory_order_relaxed) != 0) return End::woken;
  const std::scoped_lock lock(waits_.mutex_);
  ++waits_.counters_.interrupted;
  return End::interrupted;
}

void UserWait::count_nonsense() noexcept {
  const std::scoped_lock lock(waits_.mutex_);
  ++waits_.counters_.nonsense;
}

}  // namespace pervma

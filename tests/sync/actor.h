// actor.h: a named thread that does what a test tells it, one thing at a time, so that a test can
// write a schedule of several threads as a sequence. Locks are released by the actor that took
// them.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace pervma::test {

class Actor {
 public:
  Actor() : thread_([this] { loop(); }) {}
  ~Actor() {
    wait();
    {
      const std::lock_guard guard(mutex_);
      quit_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;

  // Begins; the test goes on at once. wait() is its end.
  void start(std::function<void()> work) {
    wait();
    {
      const std::lock_guard guard(mutex_);
      work_ = std::move(work);
    }
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock guard(mutex_);
    changed_.wait(guard, [this] { return !work_; });
  }
  void run(std::function<void()> work) {
    start(std::move(work));
    wait();
  }
  // Runs `work` there and returns its result.
  template <class F>
  auto ask(F work) {
    std::optional<decltype(work())> result;
    run([&] { result.emplace(work()); });
    return std::move(*result);
  }

 private:
  void loop() {
    std::unique_lock guard(mutex_);
    for (;;) {
      changed_.wait(guard, [this] { return work_ || quit_; });
      if (!work_) return;
      guard.unlock();
      work_();
      guard.lock();
      work_ = nullptr;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> work_;
  bool quit_ = false;
  std::thread thread_;
};

// A point that one thread announces and another waits for.
class Signal {
 public:
  void set() {
    const std::lock_guard guard(mutex_);
    is_set_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock guard(mutex_);
    changed_.wait(guard, [this] { return is_set_; });
  }
  bool is_set() {
    const std::lock_guard guard(mutex_);
    return is_set_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_set_ = false;
};

}  // namespace pervma::test

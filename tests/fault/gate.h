// gate.h: keeps a thread where it is, so that others find it there, and stops one that waits for
// it.
#pragma once

#include <atomic>
#include <chrono>
#include <stop_token>
#include <thread>

namespace pervma::test {

// Where a thread is kept until it is let through.
class Gate {
 public:
  void pass() noexcept {
    entered_.store(true);
    while (!open_.load()) std::this_thread::yield();
  }
  void wait_for_one() const noexcept {
    while (!entered_.load()) std::this_thread::yield();
  }
  void open() noexcept { open_.store(true); }

 private:
  std::atomic<bool> entered_{false};
  std::atomic<bool> open_{false};
};

// Whether wait(stop) ends when it is stopped while the gate is still closed; opens the gate.
template <class Wait>
bool ends_when_stopped(Gate& gate, Wait wait) {
  std::stop_source source;
  std::atomic<bool> ended{false};
  std::jthread waiting([&] {
    wait(source.get_token());
    ended.store(true);
  });
  for (int i = 0; i < 50; ++i) std::this_thread::yield();  // Best asleep by then.
  source.request_stop();
  // Bounded for the case that it cannot be stopped.
  for (int i = 0; i < 1'000 && !ended.load(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const bool stopped = ended.load();
  gate.open();
  return stopped;
}

}  // namespace pervma::test

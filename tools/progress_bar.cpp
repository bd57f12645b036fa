#include "tools/progress_bar.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <stop_token>

namespace pervma::tools {

ProgressBar::ProgressBar(std::string what, const std::atomic<uint64_t>& count, uint64_t total)
    : what_(std::move(what)), count_(count), own_total_(total), total_(own_total_) {
  start();
}

ProgressBar::ProgressBar(std::string what, const std::atomic<uint64_t>& count,
                         const std::atomic<uint64_t>& total)
    : what_(std::move(what)), count_(count), total_(total) {
  start();
}

void ProgressBar::start() {
  if (isatty(STDERR_FILENO) == 0) return;
  thread_ = std::jthread([this](const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    const auto pause = [&](std::chrono::milliseconds time) {
      return wake.wait_for(lock, stop, time, [&] { return stop.stop_requested(); });
    };
    if (pause(std::chrono::seconds(1))) return;
    while (!stop.stop_requested()) {
      draw(count_.load(std::memory_order_relaxed), total_.load(std::memory_order_relaxed));
      (void)pause(std::chrono::milliseconds(200));
    }
    fmt::print(stderr, "\r\033[K");
  });
}

ProgressBar::~ProgressBar() = default;

void ProgressBar::draw(uint64_t done, uint64_t total) const {
  constexpr uint64_t kWidth = 40;
  total = std::max<uint64_t>(total, 1);
  const uint64_t filled = std::min(kWidth, done * kWidth / total);
  fmt::print(stderr, "\r{} [{:<{}}] {:3}%", what_, std::string(filled, '#'), kWidth,
             std::min<uint64_t>(100, done * 100 / total));
  std::fflush(stderr);
}

}  // namespace pervma::tools

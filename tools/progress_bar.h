// progress_bar.h: shows on a terminal how far a long job is; silent in its first second, and where
// stderr is not a terminal.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

namespace pervma::tools {

class ProgressBar {
 public:
  // `count` is read until the destructor; `total` is what it will be at the end.
  ProgressBar(std::string what, const std::atomic<uint64_t>& count, uint64_t total);
  // The same for a total that grows while the job finds out what there is to do.
  ProgressBar(std::string what, const std::atomic<uint64_t>& count,
              const std::atomic<uint64_t>& total);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

 private:
  void start();
  void draw(uint64_t done, uint64_t total) const;

  const std::string what_;
  const std::atomic<uint64_t>& count_;
  const std::atomic<uint64_t> own_total_{0};
  const std::atomic<uint64_t>& total_;
  std::jthread thread_;
};

}  // namespace pervma::tools

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
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

 private:
  void draw(uint64_t done) const;

  const std::string what_;
  const std::atomic<uint64_t>& count_;
  const uint64_t total_;
  std::jthread thread_;
};

}  // namespace pervma::tools

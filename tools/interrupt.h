// interrupt.h: Ctrl-C in a long run. The run ends at its next step and tells what it has found
// until then; a second Ctrl-C ends the process.
#pragma once

#include <array>
#include <atomic>
#include <csignal>

namespace pervma::tools {

// Exit status of a run that was interrupted, as shells have it for SIGINT.
inline constexpr int kInterrupted = 130;

// While one lives, the first SIGINT or SIGTERM is noted instead of ending the process; a signal
// that the process ignores, as under nohup, stays ignored. One at a time.
class InterruptWatch {
 public:
  InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;
  ~InterruptWatch();

  [[nodiscard]] bool interrupted() const noexcept;
  // The same, for who looks from elsewhere.
  [[nodiscard]] const std::atomic<bool>& flag() const noexcept;

  // The exit status: that of the run, or kInterrupted with a line on stderr that says so.
  [[nodiscard]] int status(int of_the_run) const;

 private:
  std::array<struct sigaction, 2> before_{};
};

}  // namespace pervma::tools

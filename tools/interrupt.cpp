#include "tools/interrupt.h"

#include <fmt/format.h>

#include <cstdio>

namespace pervma::tools {

namespace {

std::atomic<bool> noted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void note(int) { noted.store(true, std::memory_order_relaxed); }

constexpr std::array kSignals{SIGINT, SIGTERM};

}  // namespace

InterruptWatch::InterruptWatch() {
  noted.store(false, std::memory_order_relaxed);
  struct sigaction action{};
  action.sa_handler = note;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < kSignals.size(); ++i) {
    (void)sigaction(kSignals[i], nullptr, &before_[i]);
    if (before_[i].sa_handler != SIG_IGN) (void)sigaction(kSignals[i], &action, nullptr);
  }
}

InterruptWatch::~InterruptWatch() {
  for (size_t i = 0; i < kSignals.size(); ++i) (void)sigaction(kSignals[i], &before_[i], nullptr);
}

bool InterruptWatch::interrupted() const noexcept { return noted.load(std::memory_order_relaxed); }

const std::atomic<bool>& InterruptWatch::flag() const noexcept { return noted; }

int InterruptWatch::status(int of_the_run) const {
  if (!interrupted()) return of_the_run;
  fmt::print(stderr, "pervma: interrupted: this is what was done until then\n");
  return kInterrupted;
}

}  // namespace pervma::tools

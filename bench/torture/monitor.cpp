#include "bench/torture/monitor.h"

#include <fmt/format.h>

#include "sync/spin.h"

namespace pervma::torture {

void EventRing::begin(const char* what, Address at, uint64_t pages) noexcept {
  events_[next_++ % kSize] = {monotonic_ns(), what, at, pages, nullptr};
}

std::string EventRing::text(uint64_t base_ns) const {
  std::string text;
  for (uint64_t i = next_ > kSize ? next_ - kSize : 0; i < next_; ++i) {
    const Event& e = events_[i % kSize];
    text += fmt::format("    {:>12.6f} s  {:<16} {:#x} + {} pages: {}\n",
                        static_cast<double>(e.ns - base_ns) * 1e-9, e.what, e.at.value, e.pages,
                        e.result == nullptr ? "under way" : e.result);
  }
  return text;
}

Monitor::Monitor(unsigned threads) : threads_(threads), begin_ns_(monotonic_ns()) {}

void Monitor::violated(unsigned self, unsigned other, const std::string& what) {
  {
    const std::scoped_lock lock(mutex_);
    if (!violation_) violation_ = Violation{self, other, what};
  }
  end();
}

bool Monitor::has_violation() const {
  const std::scoped_lock lock(mutex_);
  return violation_.has_value();
}

std::optional<std::string> Monitor::report() const {
  const std::scoped_lock lock(mutex_);
  if (!violation_) return std::nullopt;
  const Violation& v = *violation_;
  std::string text = fmt::format("{}\n  thread {}, which found it:\n{}", v.what, v.self,
                                 threads_[v.self].events.text(begin_ns_));
  if (v.other != v.self) {
    text += fmt::format("  thread {}, which owns the place:\n{}", v.other,
                        threads_[v.other].events.text(begin_ns_));
  }
  return text;
}

std::string Monitor::all_events() const {
  std::string text;
  for (size_t t = 0; t < threads_.size(); ++t) {
    text += fmt::format("  thread {}:\n{}", t, threads_[t].events.text(begin_ns_));
  }
  return text;
}

uint64_t Monitor::operations() const noexcept {
  uint64_t sum = 0;
  for (const ThreadState& t : threads_) sum += t.operations.load(std::memory_order_relaxed);
  return sum;
}

}  // namespace pervma::torture

#include "fault/collapser.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <system_error>

namespace pervma {

Collapser::~Collapser() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  wake_.notify_all();
  thread_.join();
}

bool Collapser::start() noexcept {
  try {
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
  } catch (const std::system_error&) {
    return false;
  }
  return true;
}

void Collapser::run(const std::stop_token& stop) noexcept {
  constexpr auto kPause = std::chrono::milliseconds(20);
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(sleep_mutex_);
      (void)wake_.wait_for(lock, stop, kPause, [] { return false; });
    }
    if (!stop.stop_requested()) (void)step(kPlaces);
  }
}

bool Collapser::add(CollapseTarget& space) noexcept {
  const std::scoped_lock lock(mutex_);
  try {
    spaces_.push_back(&space);
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

void Collapser::remove(CollapseTarget& space) noexcept {
  const std::scoped_lock lock(mutex_);
  const auto found = std::find(spaces_.begin(), spaces_.end(), &space);
  if (found == spaces_.end()) return;
  const auto index = static_cast<std::size_t>(found - spaces_.begin());
  spaces_.erase(found);
  if (index < current_) {
    --current_;
  } else if (index == current_) {
    next_ = {};
  }
}

uint64_t Collapser::step(uint64_t places) noexcept {
  const std::scoped_lock lock(mutex_);
  uint64_t made = 0;
  // Once through all spaces at most, or the same places would be looked at again.
  for (std::size_t turns = 0; places > 0 && turns <= spaces_.size() && !spaces_.empty();) {
    if (current_ >= spaces_.size()) current_ = 0;
    CollapseTarget& space = *spaces_[current_];
    const auto looks = static_cast<unsigned>(std::min<uint64_t>(places, kPlaces));
    const CollapseScan scan = space.collapse_step(next_, looks);
    if (scan.collapsed) ++made;
    // Somebody has its lock, or it is through: the next one's turn.
    if (scan.next == next_ || scan.next >= space.collapse_end()) {
      ++current_;
      ++turns;
      next_ = {};
    } else {
      next_ = scan.next;
    }
    places -= std::min<uint64_t>(places, std::max(1u, scan.looked));
  }
  return made;
}

}  // namespace pervma

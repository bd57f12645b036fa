#include "fault/reclaim.h"

#include <chrono>
#include <system_error>

#include "fault/soft_mmu.h"
#include "sync/rcu.h"

namespace pervma {

Reclaim::~Reclaim() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  wake_.notify_all();
  thread_.join();
}

bool Reclaim::start() noexcept {
  try {
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
  } catch (const std::system_error&) {
    return false;
  }
  return true;
}

// An eighth of the memory is kept free while somebody has asked for more lately.
bool Reclaim::is_short() const noexcept {
  const uint64_t used = frames_.in_use(FrameUse::page) + frames_.in_use(FrameUse::table);
  return used + frames_.size() / 8 > frames_.size();
}

void Reclaim::run(const std::stop_token& stop) noexcept {
  constexpr auto kLook = std::chrono::milliseconds(20);
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      (void)wake_.wait_for(lock, stop, kLook, [] { return false; });
    }
    const std::scoped_lock busy(busy_);
    while (!stop.stop_requested() && is_short() && turn(kBatch) != 0) {
    }
  }
}

bool Reclaim::make_room() noexcept {
  wake_.notify_one();
  if (turn(kBatch / 2) != 0) return true;
  // Somebody else may have got what there was, and it is on its way back.
  return frames_.wait_for_some();
}

// Moves the hand until enough pages went, twice over everything at most.
unsigned Reclaim::turn(unsigned wanted) noexcept {
  const uint64_t count = frames_.touched();
  unsigned done = 0;
  for (uint64_t i = 0; i < 2 * count && done < wanted; ++i) {
    const auto number =
        static_cast<uint32_t>(hand_.fetch_add(1, std::memory_order_relaxed) % count);
    if (number > kZeroFrame.number && evict(Frame{number}, Age::ask)) ++done;
  }
  return done;
}

bool Reclaim::evict(Frame frame, Age age) noexcept {
  FrameMeta& meta = frames_.meta(frame);
  const auto [mappers, index] = FrameWord::find(meta.refs, meta.mappers, meta.index);
  if (mappers == nullptr) return false;
  uint32_t slot = 0;
  {
    const MappersGuard guard(mappers);
    if (SoftMmu::may_evict(*mappers, index, frame, age == Age::ask)) {
      slot = swap_.begin(frame);
      if (slot != 0) {
        // In the slot nothing keeps the list that it leads to; who takes it from there says anew.
        frames_.set_mappers(frame, nullptr, 0);
        SoftMmu::exchange_for_slot(*mappers, index, frame, swap_, slot);
      }
    }
  }
  bool gone = false;
  if (slot != 0) {
    gone = swap_.write_out(slot);
    swap_.drop(slot);
  } else {
    const FrameHold not_taken(frames_, frame);
  }
  // The last: as long as the page may lead to it again, by a fault meanwhile, it stays.
  mappers->drop();
  return gone;
}

}  // namespace pervma

// reclaim.h: how an engine gets frames back when its memory is used up: a clock over all frames
// that goes from each to the entries that have it (mappers.h), and a thread that keeps some frames
// free.
//
// A page gets a second chance: the first time the hand passes, the marks that it was used go from
// its entries; if none has come back by the next time, the entries name a slot of the store instead
// (swap.h), and the page is written. Pages of locked memory, of file caches and in nobody's hands
// stay.
//
// Everything here waits, and takes the locks of mappers and page tables: the caller holds no lock
// of a space but, at most, an mmap lock for read (MADV_PAGEOUT).
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include "fault/swap.h"

namespace pervma {

class Reclaim {
 public:
  Reclaim(FramePool& frames, Swap& swap) noexcept : frames_(frames), swap_(swap) {}
  ~Reclaim();
  Reclaim(const Reclaim&) = delete;
  Reclaim& operator=(const Reclaim&) = delete;

  // Starts the thread. False: there is none to be had, and faults do its work.
  bool start() noexcept;

  // Gets some frames back. False: a whole turn of the clock found nothing.
  bool make_room() noexcept;

  // Waits until the thread is not in the middle of something.
  void wait_idle() noexcept { const std::scoped_lock lock(busy_); }

  enum class Age : uint8_t { ask, ignore };
  // Sends one private page to the store. False: it is not such a page, was used lately, or must
  // stay.
  bool evict(Frame frame, Age age) noexcept;

 private:
  static constexpr unsigned kBatch = 64;

  unsigned turn(unsigned wanted) noexcept;
  bool is_short() const noexcept;
  void run(const std::stop_token& stop) noexcept;

  FramePool& frames_;
  Swap& swap_;
  std::atomic<uint64_t> hand_{0};
  std::mutex busy_;   // held by the thread while it works
  std::mutex mutex_;  // for waiting
  std::condition_variable_any wake_;
  std::jthread thread_;
};

}  // namespace pervma

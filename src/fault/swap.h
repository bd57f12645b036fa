// swap.h: which pages are in the engine's store, or on their way there and back.
//
// A slot is a page that page-table entries name by number instead of a frame: after a fork several
// do. What it holds does not change from its making to its end.
//
//   frame   stored   the page is
//   some    no       being written, or could not be written and stays in memory
//   some    yes      read in and not yet taken by a fault
//   none    yes      in the store alone
//
// `refs` counts the entries, and threads that are at work on the slot. An entry's reference is
// taken and given up under the lock of its table; who has seen an entry takes one of his own there
// before he looks at the slot, so that it cannot be another page by then.
//
// Locks: a mutex for every 16th slot, never taken under the lock of a page table, under which the
// counts may change.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stop_token>

#include "fault/frame_pool.h"
#include "pervma/page_store.h"

namespace pervma {

// Slots whose last reference is gone, chained through themselves; freed when no lock of a page
// table is held any more.
class SlotGather {
 public:
  SlotGather() noexcept = default;
  SlotGather(const SlotGather&) = delete;
  SlotGather& operator=(const SlotGather&) = delete;

 private:
  friend class Swap;
  uint32_t head_ = 0;
};

class Swap {
 public:
  // Null: no memory.
  static std::unique_ptr<Swap> create(FramePool& frames, std::shared_ptr<PageStore> store) noexcept;
  ~Swap();
  Swap(const Swap&) = delete;
  Swap& operator=(const Swap&) = delete;

  bool waits() const noexcept { return store_->speed() == PageStore::Speed::device; }

  // A slot that holds the frame, of which the caller gives up a reference; one reference of the
  // slot is the caller's. 0: the store is full.
  [[nodiscard]] uint32_t begin(Frame frame) noexcept;
  // Writes the page. True: the frame was given back, the page is in the store. Waits.
  bool write_out(uint32_t slot) noexcept;

  void hold(uint32_t slot) noexcept;
  // Whether the caller's entry, whose table's lock he holds, is all that names the slot.
  bool is_sole(uint32_t slot) const noexcept {
    return slots_[slot].refs.load(std::memory_order_relaxed) == 1;
  }
  void drop(uint32_t slot, SlotGather& gather) noexcept;
  void free(SlotGather& gather) noexcept;
  void drop(uint32_t slot) noexcept {
    SlotGather gather;
    drop(slot, gather);
    free(gather);
  }

  enum class End : uint8_t { found, unreadable, out_of_memory, interrupted };
  struct Page {
    End end;
    Frame frame;  // with a reference for the caller
  };
  // The frame, if it is in memory; the caller has a reference of the slot.
  [[nodiscard]] Frame find(uint32_t slot) noexcept;
  // The same, read in if need be. Waits; the wait for another thread's read can be stopped.
  [[nodiscard]] Page get(uint32_t slot, const std::stop_token& stop = {}) noexcept;
  // A fault has taken the frame: what is stored need not stay in memory too.
  void release(uint32_t slot) noexcept;
  // Reads the page in for somebody who comes for it later. Waits, as get().
  End bring_in(uint32_t slot, const std::stop_token& stop = {}) noexcept;

  void count_in() noexcept { in_.fetch_add(1, std::memory_order_relaxed); }
  SwapCounters counters() const noexcept;

 private:
  static constexpr unsigned kLanes = 16;
  struct Slot {
    std::atomic<uint32_t> refs{0};
    uint32_t frame = 0;  // this and the flags: under the lane's mutex
    uint32_t next = 0;   // free, or gathered
    bool stored = false;
    bool reading = false;
  };
  struct alignas(kCacheLine) Lane {
    std::mutex mutex;
    std::condition_variable changed;  // `reading` ended
  };

  Swap(FramePool& frames, std::shared_ptr<PageStore> store, Slot* slots, uint64_t count) noexcept;
  Lane& lane_of(uint32_t slot) noexcept { return lanes_[slot % kLanes]; }
  Frame take(Slot& slot) noexcept;
  static bool wait_until_read(const Slot& slot, Lane& lane, const std::stop_token& stop) noexcept;
  void give_back(Frame frame) noexcept;
  void report(const char* what) noexcept;

  FramePool& frames_;
  const std::shared_ptr<PageStore> store_;
  Slot* const slots_;     // number 0 is none
  const uint64_t count_;  // numbers are below
  std::array<Lane, kLanes> lanes_;

  std::mutex free_mutex_;  // a leaf
  uint32_t free_ = 0;
  uint64_t fresh_ = 1;
  std::atomic<uint64_t> used_{0};

  std::atomic<uint64_t> out_{0};
  std::atomic<uint64_t> in_{0};
  std::atomic<uint64_t> write_errors_{0};
  std::atomic<uint64_t> read_errors_{0};
};

// A reference to a slot, given up outside the locks of page tables.
class SlotHold {
 public:
  SlotHold(Swap& swap, uint32_t slot) noexcept : swap_(swap), slot_(slot) {}
  ~SlotHold() { swap_.drop(slot_); }
  SlotHold(const SlotHold&) = delete;
  SlotHold& operator=(const SlotHold&) = delete;

 private:
  Swap& swap_;
  const uint32_t slot_;
};

}  // namespace pervma

// frame_pool.h: the engine's memory for pages and page tables: one reserved area, cut into frames.
//
// A frame is handed out with one reference. When the last is dropped it goes into a FrameGather,
// then through retire(): it is used again only after an RCU grace period, because a load or a store
// may still be looking at it through an entry that is gone. Freeing never allocates and never
// fails.
//
// A block is 512 frames in a row, for a huge page. A block whose frames all go at once stays one,
// and is handed out again as one; single frames are cut out of it only when there are no others.
//
// Each CPU has a small cache of free frames under a lock of its own; caches fill from a common
// list. What was retired comes back by liburcu's callback thread, which looks every 10 ms, or, when
// it is wanted before that, by whoever wants it (hurry()): he waits for the grace period himself,
// about a microsecond for all that was retired, when no reader was descheduled. So frames that are
// in the CPU's caches go round, and memory that was never touched stays so.
// Lock order: cache > common list; retire list alone. All are held for a few instructions.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "fault/frame.h"
#include "pervma/address.h"
#include "sync/annotations.h"
#include "sync/assert.h"
#include "sync/cpu.h"
#include "sync/rcu.h"

namespace pervma {

enum class Fill : uint8_t { zero, none };

// What alloc() does when no frame is at hand.
enum class Patience : uint8_t { wait, none };

class FramePool {
 public:
  static constexpr uint64_t kMaxFrames = (uint64_t{1} << 31) - 1;

  // Null when the process has no room for the area, or the number of frames is 0 or above
  // kMaxFrames.
  static std::unique_ptr<FramePool> create(PageCount frames) noexcept;
  // Waits for the last grace period. Asserts that every frame came back.
  ~FramePool();
  FramePool(const FramePool&) = delete;
  FramePool& operator=(const FramePool&) = delete;

  // A frame with one reference, or none when there is none left. Where many frames wait for their
  // grace period, or no others are left, waits for it: hold no spin lock. In an RCU read section it
  // does not wait. About 10 ns, and the zeroing.
  // Without patience it never waits, and may miss a frame that another CPU's cache has, or that
  // waits.
  [[nodiscard]] Frame alloc(FrameUse use, Fill fill, Patience patience = Patience::wait) noexcept;
  // Takes back a frame from alloc() that nobody else ever saw: no grace period.
  void give_back(Frame frame, FrameUse use, Fill contents) noexcept;

  // A block, each of its frames with one reference and whatever its last user left in it; none when
  // no 512 free frames lie in a row. May wait for a grace period and look through all free frames:
  // hold no spin lock, and be in no RCU read section.
  [[nodiscard]] Frame alloc_block() noexcept;
  // The same as for single frames, for all of a block.
  void give_back_block(Frame first) noexcept;
  void hold_block(Frame first) noexcept;
  void drop_block(Frame first, FrameGather& gather) noexcept;
  [[nodiscard]] bool is_sole_block(Frame first) const noexcept;

  // One more reference, for a holder of one (or of a lock that keeps one).
  void hold(Frame frame) noexcept;
  // The same for somebody who holds nothing, in a read section that began before the frame was
  // found. False: it is on its way out, and stays so until the section ends.
  [[nodiscard]] bool try_hold(Frame frame) noexcept;
  // Says whose page the frame is, before it is published.
  void set_mappers(Frame frame, Mappers* mappers, uint64_t index) noexcept {
    FrameWord::set_owner(meta(frame).mappers, meta(frame).index, mappers, index);
  }
  // Gives a reference up; the frame goes into `gather` when it was the last.
  void drop(Frame frame, FrameGather& gather) noexcept;
  // A page table's frame, which has its only reference.
  void drop_table(Frame frame, FrameGather& gather) noexcept;
  // Frees what was gathered, after a grace period. Never fails, never waits.
  void retire(FrameGather& gather) noexcept;
  // Whether the caller's reference is the only one: then nobody can take another but through it.
  [[nodiscard]] bool is_sole(Frame frame) const noexcept {
    return FrameWord::is_sole(meta(frame).refs);
  }

  std::byte* data(Frame frame) const noexcept {
    PERVMA_DASSERT(frame.number < limit_);
    return area_ + (uint64_t{frame.number} << kPageShift);
  }
  std::span<std::byte, kPageSize> bytes(Frame frame) const noexcept {
    return std::span<std::byte, kPageSize>(data(frame), kPageSize);
  }
  FrameMeta& meta(Frame frame) const noexcept {
    PERVMA_DASSERT(frame.number < limit_);
    return metas_[frame.number];
  }

  // Waits until what was retired before the call is free. Not inside an RCU read section.
  void wait_for_retired() noexcept;
  // Waits for a grace period for all that waits for one. False: nothing did, or the thread is in a
  // read section.
  bool hurry() noexcept;
  // Has the host make the first `count` frames present now; before any is handed out. Best effort.
  void make_present(PageCount count) noexcept;
  // Gives the memory of free frames back to the system.
  void trim() noexcept;

  // How many frames there are, and below which number all that were ever handed out are.
  [[nodiscard]] uint64_t size() const noexcept { return limit_ - kZeroFrame.number - 1; }
  [[nodiscard]] uint64_t touched() noexcept {
    SpinGuard guard(free_lock_);
    return fresh_;
  }
  // Waits for frames that are on their way back; false when there are none.
  [[nodiscard]] bool wait_for_some() noexcept {
    if (!is_coming()) return false;
    wait_for_retired();
    return true;
  }
  // Frames in use now; exact when nothing runs beside.
  [[nodiscard]] uint64_t in_use(FrameUse use) const noexcept;

  // For tests: after `n` more frames alloc() fails, until fail_never().
  void fail_after(uint64_t n) noexcept;
  void fail_never() noexcept;

 private:
  static constexpr unsigned kStripes = 16;
  static constexpr unsigned kCached = 60;  // A cache is four lines of frame numbers.
  static constexpr unsigned kBatch = 30;   // Moved between a cache and the common list at once.
  static constexpr int kMaxRounds = 64;    // of waiting for frames that others then take
  // So many frames are worth a grace period when nothing is free but what was never used (17 ns
  // for each); after one that took long, those of the next times are left to the callback thread.
  static constexpr uint32_t kWorthWaiting = 64;
  static constexpr auto kLongWait = std::chrono::microseconds(500);
  static constexpr int kSkipped = 16;
  static constexpr uint32_t kZeroed = uint32_t{1} << 31;  // In a cached number: needs no zeroing.

  struct Chain {
    uint32_t head = 0;
    uint32_t tail = 0;
  };
  struct Waiting {
    Chain frames;
    Chain blocks;
    uint32_t count = 0;  // of frames, those of blocks too
  };
  struct alignas(kCacheLine) Cache {
    SpinLock lock;
    uint32_t count PERVMA_GUARDED_BY(lock) = 0;
    // Taken minus given here; a sum over all caches is the number in use. Written under the lock.
    std::atomic<int64_t> used[2]{};
    std::array<uint32_t, kCached> items PERVMA_GUARDED_BY(lock){};
  };

  FramePool(std::byte* mapping, uint64_t mapped, std::byte* area, FrameMeta* metas,
            uint32_t limit) noexcept;

  // What a cache is filled with when it is empty.
  enum class Source : uint8_t {
    used_before,  // nothing, where it is worth to wait for such frames
    any,
  };
  uint32_t take(Cache& cache, FrameUse use, Source source) noexcept;
  uint32_t take_slowly(FrameUse use) noexcept;
  void refill(Cache& cache, Source source) noexcept PERVMA_REQUIRES(cache.lock);
  bool is_worth_waiting() noexcept;
  void join(Waiting& to, const Waiting& more) noexcept;
  void spill(Cache& cache) noexcept PERVMA_REQUIRES(cache.lock);
  uint32_t pop(Chain& chain) noexcept PERVMA_REQUIRES(free_lock_);
  void push(Chain& chain, uint32_t number) noexcept;
  void append(Chain& chain, Chain more) noexcept;
  void chain_up(FrameGather& gather, Frame frame) noexcept;
  bool drop_one(Frame frame) noexcept;
  uint32_t pop_block() noexcept;
  uint32_t cut_fresh_block() noexcept PERVMA_REQUIRES(free_lock_);
  bool break_block() noexcept PERVMA_REQUIRES(free_lock_);
  void form_blocks() noexcept;
  void empty_caches() noexcept;
  void begin_sorting() noexcept;
  void end_sorting() noexcept;
  void trim_blocks() noexcept;
  void trim_frames() noexcept;
  static void add_used(Cache& cache, FrameUse use, int64_t n) noexcept PERVMA_REQUIRES(cache.lock);
  bool spend_budget() noexcept;
  bool is_retiring() noexcept;  // The callback is under way, or is_coming().
  bool is_coming() noexcept;    // Frames are on their way back.
  void start_grace_period() noexcept;
  static void after_grace_period(rcu_head* head);
  void reuse_waited() noexcept;
  void make_free(const Waiting& ready) noexcept;

  std::byte* const mapping_;
  const uint64_t mapped_;
  std::byte* const area_;
  FrameMeta* const metas_;
  const uint32_t limit_;  // frame numbers are below it

  std::array<Cache, kStripes> caches_;

  alignas(kCacheLine) SpinLock free_lock_;
  Chain dirty_ PERVMA_GUARDED_BY(free_lock_);   // free, with what their last user left in them
  Chain clean_ PERVMA_GUARDED_BY(free_lock_);   // free, given back to the system: zero when touched
  Chain blocks_ PERVMA_GUARDED_BY(free_lock_);  // free blocks, by their first frames
  uint32_t fresh_ PERVMA_GUARDED_BY(free_lock_);  // from here on never handed out: zero

  alignas(kCacheLine) SpinLock retire_lock_;
  Waiting retired_ PERVMA_GUARDED_BY(retire_lock_);          // for the next callback
  Waiting waiting_ PERVMA_GUARDED_BY(retire_lock_);          // for the callback that is under way
  bool grace_runs_ PERVMA_GUARDED_BY(retire_lock_) = false;  // there is such a callback
  unsigned in_hand_ PERVMA_GUARDED_BY(retire_lock_) = 0;  // threads that have free frames in hand
  // In both of them. Written under the lock; a stale value has a grace period run early or late.
  std::atomic<uint32_t> pending_{0};
  std::atomic<int> skips_{0};  // how often it is not worth to wait
  struct GraceHead {
    rcu_head head;
    FramePool* pool;
  } grace_;

  std::atomic<int64_t> budget_{-1};  // frames that may still be had; negative: any number
};

// A reference to a frame, given up at the end, outside the locks of page tables. May be of none.
class FrameHold {
 public:
  FrameHold(FramePool& frames, Frame frame) noexcept : frames_(frames), frame_(frame) {}
  ~FrameHold() {
    if (!frame_) return;
    FrameGather gather;
    frames_.drop(frame_, gather);
    frames_.retire(gather);
  }
  FrameHold(const FrameHold&) = delete;
  FrameHold& operator=(const FrameHold&) = delete;

  Frame frame() const noexcept { return frame_; }
  // Somebody else has it now.
  void release() noexcept { frame_ = {}; }

 private:
  FramePool& frames_;
  Frame frame_;
};

}  // namespace pervma

// frame.h: one page of memory, by number, and what the engine knows about it.
#pragma once

#include <atomic>
#include <cstdint>

#include "fault/frame_word.h"
#include "fault/spin_lock.h"

namespace pervma {

class Mappers;

// A 4 KiB frame of one engine's pool. Number 0 is no frame at all.
struct Frame {
  uint32_t number = 0;

  constexpr explicit operator bool() const noexcept { return number != 0; }
  friend constexpr bool operator==(Frame, Frame) = default;
};

// The frame that shows zeros wherever nothing was written yet. Never written, counted or freed.
inline constexpr Frame kZeroFrame{1};

// Frames of a block: a huge page's, in a row, the first a multiple of this.
inline constexpr uint32_t kBlockFrames = 512;

enum class FrameUse : uint8_t { page, table };

// Thirty-two bytes beside every frame.
//
//   refs     0: free, or on its way there; else the page-table entries and page caches that have it
//   lock     of the page table that the frame holds; unused in pages
//   next     links free frames, and frames that wait for their grace period, at refs 0; of a page
//            table: the first of those kept for its huge entries (huge_slot.h)
//   dirty    of a page of a file's cache: 1 when a mapping was allowed to write it since it was
//            last given to the object; set under the lock of the table whose entry allows it
//   mappers  who may have entries for the page, and
//   index    the page's number there: written before the page is published, empty once it is freed.
//            Read by anyone; who comes from them looks at the entries, which tell
struct alignas(32) FrameMeta {
  std::atomic<uint32_t> refs{0};
  SpinLock lock;
  uint32_t next = 0;
  std::atomic<uint32_t> dirty{0};
  std::atomic<Mappers*> mappers{nullptr};  // Not counted: see mappers.h.
  std::atomic<uint64_t> index{0};
};
static_assert(sizeof(FrameMeta) == 32);

using FrameWord = BasicFrameWord<NativePlatform, Mappers>;

// Frames whose last reference is gone, chained through their metadata so that collecting them needs
// no memory. One operation collects, then hands all to FramePool::retire(): the software form of
// "flush the TLB once per operation".
class FrameGather {
 public:
  FrameGather() noexcept = default;
  FrameGather(const FrameGather&) = delete;
  FrameGather& operator=(const FrameGather&) = delete;

  bool empty() const noexcept { return head_ == 0 && block_head_ == 0; }

 private:
  friend class FramePool;

  uint32_t head_ = 0;
  uint32_t tail_ = 0;
  uint32_t block_head_ = 0;  // whole blocks, by their first frames
  uint32_t block_tail_ = 0;
  uint32_t pages_ = 0;
  uint32_t tables_ = 0;
};

}  // namespace pervma

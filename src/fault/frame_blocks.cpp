// frame_blocks.cpp: blocks of frames, and the work on all free frames at once: giving their memory
// back to the system, and finding blocks among them.
#include <sys/mman.h>

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include "fault/frame_pool.h"
#include "fault/stripe.h"

namespace pervma {

namespace {

constexpr uint64_t kBlockBytes = uint64_t{kBlockFrames} << kPageShift;

}  // namespace

Frame FramePool::alloc_block() noexcept {
  if (!spend_budget()) return {};
  uint32_t first = pop_block();
  if (first == 0 && is_coming()) {
    wait_for_retired();
    first = pop_block();
  }
  if (first == 0) {
    form_blocks();
    first = pop_block();
  }
  if (first == 0) return {};
  for (uint32_t i = 0; i < kBlockFrames; ++i) {
    PERVMA_DASSERT_OP(meta({first + i}).refs.load(std::memory_order_relaxed), ==, 0u);
    meta({first + i}).refs.store(1, std::memory_order_relaxed);
  }
  Cache& cache = caches_[current_stripe(kStripes)];
  SpinGuard guard(cache.lock);
  add_used(cache, FrameUse::page, kBlockFrames);
  return {first};
}

uint32_t FramePool::pop_block() noexcept {
  SpinGuard guard(free_lock_);
  return blocks_.head != 0 ? pop(blocks_) : cut_fresh_block();
}

// From what was never handed out; the frames before its beginning are free ones from now on. What
// is known to whoever asks touched() has its metadata.
uint32_t FramePool::cut_fresh_block() noexcept {
  const uint32_t first = (fresh_ + kBlockFrames - 1) / kBlockFrames * kBlockFrames;
  if (first > limit_ || limit_ - first < kBlockFrames) return 0;
  for (uint32_t n = fresh_; n < first + kBlockFrames; ++n) new (&metas_[n]) FrameMeta;
  while (fresh_ < first) push(clean_, fresh_++);
  fresh_ = first + kBlockFrames;
  return first;
}

bool FramePool::break_block() noexcept {
  if (blocks_.head == 0) return false;
  const uint32_t first = pop(blocks_);
  for (uint32_t i = kBlockFrames; i > 0; --i) push(dirty_, first + i - 1);
  return true;
}

void FramePool::give_back_block(Frame first) noexcept {
  for (uint32_t i = 0; i < kBlockFrames; ++i) {
    FrameMeta& m = meta({first.number + i});
    PERVMA_DASSERT_OP(m.refs.load(std::memory_order_relaxed), ==, 1u);
    m.refs.store(0, std::memory_order_relaxed);
    m.mappers.store(nullptr, std::memory_order_relaxed);
  }
  {
    Cache& cache = caches_[current_stripe(kStripes)];
    SpinGuard guard(cache.lock);
    add_used(cache, FrameUse::page, -int64_t{kBlockFrames});
  }
  SpinGuard guard(free_lock_);
  push(blocks_, first.number);
}

void FramePool::hold_block(Frame first) noexcept {
  for (uint32_t i = 0; i < kBlockFrames; ++i) hold({first.number + i});
}

bool FramePool::is_sole_block(Frame first) const noexcept {
  for (uint32_t i = 0; i < kBlockFrames; ++i) {
    if (!is_sole({first.number + i})) return false;
  }
  return true;
}

// Goes as one where it all goes.
void FramePool::drop_block(Frame first, FrameGather& gather) noexcept {
  uint32_t gone = 0;
  while (gone < kBlockFrames && drop_one({first.number + gone})) ++gone;
  if (gone == kBlockFrames) {
    meta(first).next = gather.block_head_;
    if (gather.block_head_ == 0) gather.block_tail_ = first.number;
    gather.block_head_ = first.number;
    gather.pages_ += kBlockFrames;
    return;
  }
  for (uint32_t i = 0; i < gone; ++i) chain_up(gather, {first.number + i});
  gather.pages_ += gone;
  for (uint32_t i = gone + 1; i < kBlockFrames; ++i) drop({first.number + i}, gather);
}

// --- all free frames at once --------------------------------------------------------------------

// While a thread has them in hand, whoever finds none waits as for frames that are on their way
// back.
void FramePool::begin_sorting() noexcept {
  SpinGuard guard(retire_lock_);
  ++in_hand_;
}
void FramePool::end_sorting() noexcept {
  SpinGuard guard(retire_lock_);
  --in_hand_;
}

void FramePool::empty_caches() noexcept {
  for (Cache& cache : caches_) {
    SpinGuard guard(cache.lock);
    SpinGuard free_guard(free_lock_);
    while (cache.count > 0) {
      const uint32_t item = cache.items[--cache.count];
      push((item & kZeroed) != 0 ? clean_ : dirty_, item & ~kZeroed);
    }
  }
}

// Counts the free frames of each block, then takes those of full ones out of the lists.
void FramePool::form_blocks() noexcept {
  begin_sorting();
  empty_caches();
  Chain lists[2];
  {
    SpinGuard guard(free_lock_);
    lists[0] = std::exchange(dirty_, Chain{});
    lists[1] = std::exchange(clean_, Chain{});
  }
  Chain blocks;
  const std::unique_ptr<uint16_t[]> free(new (std::nothrow) uint16_t[limit_ / kBlockFrames + 1]());
  if (free != nullptr) {
    for (const Chain& list : lists) {
      for (uint32_t n = list.head; n != 0; n = metas_[n].next) ++free[n / kBlockFrames];
    }
    for (Chain& list : lists) {
      Chain kept;
      for (uint32_t n = list.head; n != 0;) {
        const uint32_t next = metas_[n].next;
        if (free[n / kBlockFrames] != kBlockFrames) {
          metas_[n].next = 0;
          if (kept.head == 0) {
            kept.head = n;
          } else {
            metas_[kept.tail].next = n;
          }
          kept.tail = n;
        }
        n = next;
      }
      list = kept;
    }
    for (uint32_t b = 0; b <= limit_ / kBlockFrames; ++b) {
      if (free[b] == kBlockFrames) push(blocks, b * kBlockFrames);
    }
  }
  {
    SpinGuard guard(free_lock_);
    append(dirty_, lists[0]);
    append(clean_, lists[1]);
    append(blocks_, blocks);
  }
  end_sorting();
}

void FramePool::trim() noexcept {
  begin_sorting();
  trim_blocks();
  trim_frames();
  end_sorting();
}

void FramePool::trim_blocks() noexcept {
  Chain taken;
  {
    SpinGuard guard(free_lock_);
    taken = std::exchange(blocks_, Chain{});
  }
  for (uint32_t n = taken.head; n != 0; n = metas_[n].next) {
    (void)::madvise(data({n}), kBlockBytes, MADV_DONTNEED);
  }
  SpinGuard guard(free_lock_);
  append(blocks_, taken);
}

void FramePool::trim_frames() noexcept {
  Chain taken;
  {
    SpinGuard guard(free_lock_);
    taken = std::exchange(dirty_, Chain{});
  }
  uint64_t count = 0;
  for (uint32_t n = taken.head; n != 0; n = metas_[n].next) count++;
  if (count == 0) return;
  const std::unique_ptr<uint32_t[]> numbers(new (std::nothrow) uint32_t[count]);
  if (numbers == nullptr) {
    SpinGuard guard(free_lock_);
    append(dirty_, taken);
    return;
  }
  uint64_t filled = 0;
  for (uint32_t n = taken.head; n != 0; n = metas_[n].next) numbers[filled++] = n;
  std::sort(numbers.get(), numbers.get() + count);
  Chain clean;
  Chain refused;
  for (uint64_t i = 0; i < count;) {
    uint64_t end = i + 1;
    while (end < count && numbers[end] == numbers[end - 1] + 1) end++;
    const int failed = ::madvise(data(Frame{numbers[i]}), (end - i) << kPageShift, MADV_DONTNEED);
    for (; i < end; i++) push(failed == 0 ? clean : refused, numbers[i]);
  }
  SpinGuard guard(free_lock_);
  append(clean_, clean);
  append(dirty_, refused);
}

}  // namespace pervma

#include "fault/swap.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <new>
#include <utility>

#include "fault/slot_word.h"

namespace pervma {

using SlotWord = BasicSlotWord<NativePlatform>;

std::unique_ptr<Swap> Swap::create(FramePool& frames, std::shared_ptr<PageStore> store) noexcept {
  constexpr uint64_t kMost = uint64_t{1} << 31;
  const uint64_t count = std::min(store->capacity(), kMost) + 1;
  // Untouched until used, and zero, which is what a free slot is.
  void* slots = ::mmap(nullptr, count * sizeof(Slot), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (slots == MAP_FAILED) return nullptr;
  auto* swap = new (std::nothrow) Swap(frames, std::move(store), static_cast<Slot*>(slots), count);
  if (swap == nullptr) ::munmap(slots, count * sizeof(Slot));
  return std::unique_ptr<Swap>(swap);
}

Swap::Swap(FramePool& frames, std::shared_ptr<PageStore> store, Slot* slots,
           uint64_t count) noexcept
    : frames_(frames), store_(std::move(store)), slots_(slots), count_(count) {}

Swap::~Swap() {
  PERVMA_ASSERT_OP(used_.load(std::memory_order_relaxed), ==, 0u);  // A slot was leaked.
  ::munmap(slots_, count_ * sizeof(Slot));
}

uint32_t Swap::begin(Frame frame) noexcept {
  uint32_t number = 0;
  {
    const std::scoped_lock lock(free_mutex_);
    if (free_ != 0) {
      number = free_;
      free_ = slots_[number].next;
    } else if (fresh_ < count_) {
      number = static_cast<uint32_t>(fresh_++);
    } else {
      return 0;
    }
  }
  used_.fetch_add(1, std::memory_order_relaxed);
  Slot& slot = slots_[number];
  const std::scoped_lock lock(lane_of(number).mutex);
  slot.frame = frame.number;
  slot.stored = slot.reading = false;
  slot.refs.store(1, std::memory_order_relaxed);
  return number;
}

// The bytes do not change: every entry names the slot, or shows the frame without the right to
// write as long as the slot has a reference to it.
bool Swap::write_out(uint32_t number) noexcept {
  Slot& slot = slots_[number];
  Frame frame;
  {
    const std::scoped_lock lock(lane_of(number).mutex);
    frame = Frame{slot.frame};
  }
  if (!store_->write(number - 1, frames_.bytes(frame))) {
    if (write_errors_.fetch_add(1, std::memory_order_relaxed) == 0) report("written");
    return false;
  }
  out_.fetch_add(1, std::memory_order_relaxed);
  {
    const std::scoped_lock lock(lane_of(number).mutex);
    slot.stored = true;
    slot.frame = 0;
  }
  give_back(frame);
  return true;
}

void Swap::report(const char* what) noexcept {
  (void)std::fprintf(stderr,
                     "pervma: a page could not be %s by its page store; further errors are only "
                     "counted\n",
                     what);
}

void Swap::give_back(Frame frame) noexcept {
  FrameGather gather;
  frames_.drop(frame, gather);
  frames_.retire(gather);
}

void Swap::hold(uint32_t slot) noexcept {
  const uint32_t before = SlotWord::hold(slots_[slot].refs);
  PERVMA_ASSERT_OP(before, >, 0u);
}

void Swap::drop(uint32_t number, SlotGather& gather) noexcept {
  Slot& slot = slots_[number];
  const uint32_t before = SlotWord::drop(slot.refs);
  PERVMA_ASSERT_OP(before, >, 0u);
  if (before != 1) return;
  slot.next = gather.head_;
  gather.head_ = number;
}

void Swap::free(SlotGather& gather) noexcept {
  while (gather.head_ != 0) {
    const uint32_t number = gather.head_;
    Slot& slot = slots_[number];
    gather.head_ = slot.next;
    Frame frame;
    bool stored = false;
    {
      const std::scoped_lock lock(lane_of(number).mutex);
      frame = Frame{std::exchange(slot.frame, 0)};
      stored = std::exchange(slot.stored, false);
    }
    if (frame) give_back(frame);
    if (stored) store_->discard(number - 1);
    used_.fetch_sub(1, std::memory_order_relaxed);
    const std::scoped_lock lock(free_mutex_);
    slot.next = free_;
    free_ = number;
  }
}

Frame Swap::take(Slot& slot) noexcept {
  const Frame frame{slot.frame};
  if (frame) frames_.hold(frame);
  return frame;
}

Frame Swap::find(uint32_t number) noexcept {
  const std::scoped_lock lock(lane_of(number).mutex);
  return take(slots_[number]);
}

// False: stopped.
bool Swap::wait_until_read(const Slot& slot, Lane& lane, const std::stop_token& stop) noexcept {
  // Outlives the lock: its destructor waits for a requester that may be waiting for the mutex.
  const std::stop_callback stopped(stop, [&lane] {
    const std::scoped_lock lock(lane.mutex);
    lane.changed.notify_all();
  });
  std::unique_lock lock(lane.mutex);
  lane.changed.wait(lock, [&] { return !slot.reading || stop.stop_requested(); });
  return !slot.reading;
}

Swap::Page Swap::get(uint32_t number, const std::stop_token& stop) noexcept {
  Slot& slot = slots_[number];
  Lane& lane = lane_of(number);
  for (;;) {
    {
      const std::scoped_lock lock(lane.mutex);
      if (const Frame frame = take(slot)) return {End::found, frame};
      if (!slot.reading) {
        slot.reading = true;
        break;
      }
    }
    if (!wait_until_read(slot, lane, stop)) return {End::interrupted, {}};
  }
  Page page{End::out_of_memory, frames_.alloc(FrameUse::page, Fill::none)};
  if (page.frame) {
    page.end = store_->read(number - 1, frames_.bytes(page.frame)) ? End::found : End::unreadable;
    if (page.end == End::unreadable) {
      if (read_errors_.fetch_add(1, std::memory_order_relaxed) == 0) report("read");
      frames_.give_back(page.frame, FrameUse::page, Fill::none);
      page.frame = {};
    }
  }
  {
    const std::scoped_lock lock(lane.mutex);
    slot.reading = false;
    slot.frame = page.frame.number;
    (void)take(slot);
  }
  lane.changed.notify_all();
  return page;
}

Swap::End Swap::bring_in(uint32_t number, const std::stop_token& stop) noexcept {
  const Page page = get(number, stop);
  if (page.frame) give_back(page.frame);
  return page.end;
}

void Swap::release(uint32_t number) noexcept {
  Frame frame;
  {
    const std::scoped_lock lock(lane_of(number).mutex);
    Slot& slot = slots_[number];
    if (!slot.stored) return;
    frame = Frame{std::exchange(slot.frame, 0)};
  }
  if (frame) give_back(frame);
}

SwapCounters Swap::counters() const noexcept {
  return {.out = out_.load(std::memory_order_relaxed),
          .in = in_.load(std::memory_order_relaxed),
          .write_errors = write_errors_.load(std::memory_order_relaxed),
          .read_errors = read_errors_.load(std::memory_order_relaxed),
          .slots = used_.load(std::memory_order_relaxed)};
}

}  // namespace pervma

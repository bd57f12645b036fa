#include "fault/page_cache.h"

#include <array>
#include <new>

#include "fault/frame_bytes.h"
#include "sync/futex.h"
#include "sync/rcu.h"
#include "sync/spin.h"

namespace pervma {

PageCache::~PageCache() {
  FrameGather gather;
  if (Node* root = root_.load(std::memory_order_relaxed)) destroy(root, gather);
  frames_.retire(gather);
  if (mappers_ != nullptr) mappers_->drop();
}

Frame PageCache::find_held(uint64_t index) const noexcept {
  // A frame that is free stays free until the section ends: it cannot be another page meanwhile.
  const RcuReader rcu;
  const Frame frame = find(index);
  return frame && frames_.try_hold(frame) ? frame : Frame{};
}

Frame PageCache::find(uint64_t index) const noexcept {
  const Slot* slot = find_slot(index);
  if (slot == nullptr) return {};
  const uint32_t value = Word::page(*slot);
  return is_page(value) ? Frame{value} : Frame{};
}

PageCache::Page PageCache::get_or_fill(uint64_t index, const std::stop_token& stop) noexcept {
  Slot* slot = make_slot(index);
  if (slot == nullptr) return {End::out_of_memory, {}};
  for (;;) {
    if (const Frame frame = find_held(index)) return {End::found, frame};
    uint32_t seen = slot->load(std::memory_order_relaxed);
    if (seen == 0) {
      if (slot->compare_exchange_strong(seen, kFilling, std::memory_order_relaxed)) {
        return read_in(*slot, index);
      }
    }
    if (!is_page(seen) && !wait_until_filled(*slot, seen, stop)) return {End::interrupted, {}};
  }
}

PageCache::End PageCache::fill(uint64_t index, const std::stop_token& stop) noexcept {
  const Page page = get_or_fill(index, stop);
  if (page.end == End::found) {
    FrameGather gather;
    frames_.drop(page.frame, gather);
    frames_.retire(gather);
  }
  return page.end;
}

PageCache::Page PageCache::read_in(Slot& slot, uint64_t index) noexcept {
  Page page{End::out_of_memory, frames_.alloc(FrameUse::page, Fill::zero)};
  if (page.frame) {
    page.end = object_.read_page(index, frames_.bytes(page.frame)) ? End::found : End::unreadable;
    if (page.end == End::unreadable) {
      frames_.give_back(page.frame, FrameUse::page, Fill::none);
      page.frame = {};
    } else {
      frames_.set_mappers(page.frame, mappers_, index);
      frames_.hold(page.frame);  // The caller's.
    }
  }
  const uint32_t before = Word::end_filling(slot, page.frame.number);
  // The address is only a key to the kernel: the slot may be gone by then.
  if (before != kFilling) futex_wake_all(&slot);
  // The object became shorter while its page was read, or just before.
  if (page.frame && (before == kFillingStale || !has_page(index))) {
    FrameGather gather;
    (void)take_out(slot, page.frame.number, gather);
    frames_.retire(gather);
  }
  return page;
}

PageCache::Put PageCache::put(uint64_t index, Frame frame) noexcept {
  Slot* const slot = make_slot(index);
  if (slot == nullptr) return Put::out_of_memory;
  frames_.set_mappers(frame, mappers_, index);
  if (!Word::put(*slot, frame.number)) return Put::there;
  if (!has_page(index)) {  // As in read_in().
    FrameGather gather;
    (void)take_out(*slot, frame.number, gather);
    frames_.retire(gather);
  }
  return Put::done;
}

bool PageCache::take_out(Slot& slot, uint32_t value, FrameGather& gather) noexcept {
  if (!slot.compare_exchange_strong(value, 0, std::memory_order_relaxed)) return false;
  frames_.drop(Frame{value}, gather);
  return true;
}

void PageCache::truncate() noexcept {
  truncations_.begin();
  const uint64_t size = object_.size();
  FrameGather gather;
  if (Node* root = Word::look(root_)) {
    drop_from(*root, 0, (size >> kPageShift) + ((size & kPageMask) != 0 ? 1 : 0), gather);
  }
  frames_.retire(gather);
  const uint64_t kept = size & kPageMask;
  if (kept == 0) return;
  if (const Frame last = find_held(size >> kPageShift)) {
    static constexpr std::array<std::byte, kPageSize> kZeros{};
    store_to_frame(frames_.data(last) + kept, std::span(kZeros).subspan(kept));
    frames_.drop(last, gather);
    frames_.retire(gather);
  }
}

// Pages from `first` on, in and below the node, which begins with page `base`.
void PageCache::drop_from(Node& node, uint64_t base, uint64_t first, FrameGather& gather) noexcept {
  const uint64_t step = uint64_t{1} << node.shift;
  unsigned slot = 0;
  if (first > base) {
    if ((first - base) >> node.shift >= kSlots) return;
    slot = static_cast<unsigned>((first - base) >> node.shift);
  }
  for (; slot < kSlots; ++slot) {
    if (node.shift > 0) {
      Node* below = Word::look(static_cast<Inner&>(node).children[slot]);
      if (below != nullptr) drop_from(*below, base + slot * step, first, gather);
      continue;
    }
    Slot& page = static_cast<Leaf&>(node).pages[slot];
    uint32_t value = Word::page(page);
    while (value == kFilling || value == kFillingAwaited) {
      if (page.compare_exchange_weak(value, kFillingStale, std::memory_order_relaxed)) break;
      value = Word::page(page);
    }
    if (is_page(value)) (void)take_out(page, value, gather);
  }
}

bool PageCache::wait_until_filled(Slot& slot, uint32_t seen, const std::stop_token& stop) noexcept {
  FutexSleeper sleeper(slot, stop);
  AdaptiveSpinner spinner(SpinBudget::full);
  while (seen == kFilling || seen == kFillingAwaited || seen == kFillingStale) {
    if (!spinner.spin()) {
      if (seen != kFilling ||
          slot.compare_exchange_strong(seen, kFillingAwaited, std::memory_order_relaxed)) {
        // Who is stopped leaves the word awaited: its end wakes for nothing then.
        if (!sleeper.sleep(seen == kFillingStale ? kFillingStale : kFillingAwaited)) return false;
      }
    }
    seen = slot.load(std::memory_order_relaxed);
  }
  return true;
}

PageCache::Slot* PageCache::find_slot(uint64_t index) const noexcept {
  Node* node = Word::look(root_);
  if (node == nullptr || !covers(*node, index)) return nullptr;
  while (node->shift > 0) {
    auto* inner = static_cast<Inner*>(node);
    node = Word::look(inner->children[slot_of(index, inner->shift)]);
    if (node == nullptr) return nullptr;
  }
  return &static_cast<Leaf*>(node)->pages[slot_of(index, 0)];
}

PageCache::Slot* PageCache::make_slot(uint64_t index) noexcept {
  if (Slot* slot = find_slot(index)) return slot;
  const std::lock_guard guard(nodes_mutex_);
  if (!grow(index)) return nullptr;
  Node* node = root_.load(std::memory_order_relaxed);
  while (node->shift > 0) {
    auto* inner = static_cast<Inner*>(node);
    std::atomic<Node*>& child = inner->children[slot_of(index, inner->shift)];
    node = child.load(std::memory_order_relaxed);
    if (node == nullptr) {
      node = make_node(inner->shift - kIndexBits);
      if (node == nullptr) return nullptr;
      Word::publish(child, node);
    }
  }
  return &static_cast<Leaf*>(node)->pages[slot_of(index, 0)];
}

// Puts nodes on top until the root covers the index.
bool PageCache::grow(uint64_t index) noexcept {
  Node* root = root_.load(std::memory_order_relaxed);
  while (root == nullptr || !covers(*root, index)) {
    Node* above = make_node(root == nullptr ? 0 : root->shift + kIndexBits);
    if (above == nullptr) return false;
    if (root != nullptr) {
      static_cast<Inner*>(above)->children[0].store(root, std::memory_order_relaxed);
    }
    Word::publish(root_, above);
    root = above;
  }
  return true;
}

PageCache::Node* PageCache::make_node(unsigned shift) noexcept {
  if (shift == 0) return new (std::nothrow) Leaf;
  return new (std::nothrow) Inner(shift);
}

void PageCache::destroy(Node* node, FrameGather& gather) noexcept {
  if (node->shift > 0) {
    auto* inner = static_cast<Inner*>(node);
    for (auto& child : inner->children) {
      if (Node* below = child.load(std::memory_order_relaxed)) destroy(below, gather);
    }
    delete inner;
    return;
  }
  auto* leaf = static_cast<Leaf*>(node);
  for (auto& page : leaf->pages) {
    const uint32_t value = page.load(std::memory_order_relaxed);
    if (is_page(value)) frames_.drop(Frame{value}, gather);
  }
  delete leaf;
}

}  // namespace pervma

#include "fault/page_cache.h"

#include <new>

#include "sync/futex.h"
#include "sync/spin.h"

namespace pervma {

PageCache::~PageCache() {
  FrameGather gather;
  if (Node* root = root_.load(std::memory_order_relaxed)) destroy(root, gather);
  frames_.retire(gather);
}

Frame PageCache::find(uint64_t index) const noexcept {
  const Slot* slot = find_slot(index);
  if (slot == nullptr) return {};
  const uint32_t value = slot->load(std::memory_order_acquire);  // [F3] pairs with [F4]
  return is_page(value) ? Frame{value} : Frame{};
}

PageCache::Page PageCache::get_or_fill(uint64_t index) noexcept {
  Slot* slot = make_slot(index);
  if (slot == nullptr) return {End::out_of_memory, {}};
  for (;;) {
    uint32_t seen = slot->load(std::memory_order_acquire);  // [F5] pairs with [F4]
    if (is_page(seen)) return {End::found, Frame{seen}};
    if (seen == 0) {
      if (slot->compare_exchange_strong(seen, kFilling, std::memory_order_relaxed)) {
        return fill(*slot, index);
      }
    } else {
      wait_until_filled(*slot, seen);
    }
  }
}

PageCache::Page PageCache::fill(Slot& slot, uint64_t index) noexcept {
  Page page{End::out_of_memory, frames_.alloc(FrameUse::page, Fill::zero)};
  if (page.frame) {
    page.end = object_.read_page(index, frames_.bytes(page.frame)) ? End::found : End::unreadable;
    if (page.end == End::unreadable) {
      frames_.give_back(page.frame, FrameUse::page, Fill::none);
      page.frame = {};
    }
  }
  const uint32_t before =
      slot.exchange(page.frame.number, std::memory_order_release);  // [F4] pairs with [F3], [F5]
  // The address is only a key to the kernel: the slot may be gone by then.
  if (before == kFillingAwaited) futex_wake_all(&slot);
  return page;
}

void PageCache::wait_until_filled(Slot& slot, uint32_t seen) noexcept {
  AdaptiveSpinner spinner(SpinBudget::full);
  while (seen == kFilling || seen == kFillingAwaited) {
    if (!spinner.spin()) {
      if (seen == kFillingAwaited ||
          slot.compare_exchange_strong(seen, kFillingAwaited, std::memory_order_relaxed)) {
        futex_wait(slot, kFillingAwaited);
      }
    }
    seen = slot.load(std::memory_order_relaxed);
  }
}

PageCache::Slot* PageCache::find_slot(uint64_t index) const noexcept {
  Node* node = root_.load(std::memory_order_acquire);  // [F6] pairs with [F7]
  if (node == nullptr || !covers(*node, index)) return nullptr;
  while (node->shift > 0) {
    auto* inner = static_cast<Inner*>(node);
    node = inner->children[slot_of(index, inner->shift)].load(
        std::memory_order_acquire);  // [F8] pairs with [F9]
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
      child.store(node, std::memory_order_release);  // [F9] pairs with [F8]
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
    root_.store(above, std::memory_order_release);  // [F7] pairs with [F6]
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

// cache_word.h: how the words of a page cache's tree are set and read (page_cache.h): links between
// nodes, which only come, and slots of pages. The functions are a template over the platform that
// the atomics belong to, so that checkers run these very lines (sync/site.h).
#pragma once

#include <atomic>
#include <cstdint>

#include "sync/platform.h"

namespace pervma {

template <class P>
struct BasicCacheWord {
  using Slot = typename P::template Atomic<uint32_t>;
  template <class Node>
  using Link = typename P::template Atomic<Node*>;

  template <class Node>
  static Node* look(const Link<Node>& link) noexcept {
    return link.load(P::order(Site::cache_look, std::memory_order_acquire));  // [F6] with [F7]
  }
  // The node is built. Under the mutex for nodes.
  template <class Node>
  static void publish(Link<Node>& link, Node* node) noexcept {
    link.store(node, P::order(Site::cache_node, std::memory_order_release));  // [F7] with [F6]
  }

  static uint32_t page(const Slot& slot) noexcept {
    return slot.load(P::order(Site::cache_page_look, std::memory_order_acquire));  // [F3] [F4]
  }
  // The end of reading a page in; what the slot held meanwhile.
  static uint32_t end_filling(Slot& slot, uint32_t frame) noexcept {
    return slot.exchange(
        frame, P::order(Site::cache_page_read, std::memory_order_release));  // [F4] with [F3]
  }
  // Puts a page where none is.
  static bool put(Slot& slot, uint32_t frame) noexcept {
    uint32_t none = 0;
    return slot.compare_exchange_strong(
        none, frame, P::order(Site::cache_page_put, std::memory_order_release),  // [F4] with [F3]
        std::memory_order_relaxed);
  }
};

}  // namespace pervma

// page_cache.h: the pages of one backing object in one engine, shared by all its openings and
// spaces.
//
// A radix tree of 64-way nodes from page index to frame; it only grows. A slot is one word:
//
//   0                  nothing here
//   kFilling           a thread reads the page in
//   kFillingAwaited    the same, and others sleep on the word until it is done
//   anything else      the page's frame, on which the cache has one reference
//
// find() is wait-free. get_or_fill() waits for read_page(), its own or that of the thread that came
// first. Nodes are made under a mutex. A page goes when the cache does, with the last opening.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "fault/frame_pool.h"
#include "pervma/file.h"
#include "vm/open_file.h"

namespace pervma {

class PageCache {
 public:
  // `object` outlives the cache: every opening keeps both.
  PageCache(FramePool& frames, BackingObject& object) noexcept : frames_(frames), object_(object) {}
  ~PageCache();
  PageCache(const PageCache&) = delete;
  PageCache& operator=(const PageCache&) = delete;

  static PageCache& of(const OpenFile& file) noexcept {
    return *static_cast<PageCache*>(file.pages());
  }

  // The page's frame, kept by the cache as long as the caller keeps an opening; or none.
  [[nodiscard]] Frame find(uint64_t index) const noexcept;

  enum class End : uint8_t { found, unreadable, out_of_memory };
  struct Page {
    End end;
    Frame frame;  // when found
  };
  // The page's frame, read in when it is not there.
  [[nodiscard]] Page get_or_fill(uint64_t index) noexcept;

  // Whether the page begins below the object's size.
  [[nodiscard]] bool has_page(uint64_t index) const noexcept {
    const uint64_t size = object_.size();
    return index < (size >> kPageShift) + ((size & kPageMask) != 0 ? 1 : 0);
  }

 private:
  static constexpr unsigned kIndexBits = 6;
  static constexpr unsigned kSlots = 1u << kIndexBits;
  static constexpr uint32_t kFilling = ~uint32_t{0};
  static constexpr uint32_t kFillingAwaited = kFilling - 1;

  struct Node {
    explicit Node(unsigned s) noexcept : shift(s) {}
    const unsigned shift;  // of the index, to get the slot's number; 0 in leaves
  };
  struct Leaf : Node {
    Leaf() noexcept : Node(0) {}
    std::atomic<uint32_t> pages[kSlots]{};
  };
  struct Inner : Node {
    using Node::Node;
    std::atomic<Node*> children[kSlots]{};
  };
  using Slot = std::atomic<uint32_t>;

  static unsigned slot_of(uint64_t index, unsigned shift) noexcept {
    return static_cast<unsigned>(index >> shift) & (kSlots - 1);
  }
  static bool covers(const Node& node, uint64_t index) noexcept {
    return node.shift + kIndexBits >= 64 || (index >> (node.shift + kIndexBits)) == 0;
  }
  static Node* make_node(unsigned shift) noexcept;
  static bool is_page(uint32_t value) noexcept { return value != 0 && value < kFillingAwaited; }

  Slot* find_slot(uint64_t index) const noexcept;
  Slot* make_slot(uint64_t index) noexcept;
  bool grow(uint64_t index) noexcept;  // Under nodes_mutex_.
  Page fill(Slot& slot, uint64_t index) noexcept;
  static void wait_until_filled(Slot& slot, uint32_t seen) noexcept;
  void destroy(Node* node, FrameGather& gather) noexcept;

  FramePool& frames_;
  BackingObject& object_;
  std::atomic<Node*> root_{nullptr};
  std::mutex nodes_mutex_;  // for making nodes; nothing else is locked under it
};

}  // namespace pervma

// page_cache.h: the pages of one backing object in one engine, shared by all its openings and
// spaces.
//
// A radix tree of 64-way nodes from page index to frame; it only grows. A slot is one word:
//
//   0                  nothing here
//   kFilling           a thread reads the page in
//   kFillingAwaited    the same, and others sleep on the word until it is done
//   kFillingStale      the same, and a truncation came by: what is read is not kept
//   anything else      the page's frame, on which the cache has one reference
//
// find() is wait-free. get_or_fill() waits for read_page(), its own or that of the thread that came
// first; the latter wait can be stopped. Nodes are made under a mutex. A page goes when the cache
// does, with the last opening, or when the object has become too short for it.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <stop_token>

#include "fault/cache_word.h"
#include "fault/frame_pool.h"
#include "fault/truncations.h"
#include "pervma/file.h"
#include "vm/open_file.h"

namespace pervma {

class PageCache {
 public:
  // `object` outlives the cache: every opening keeps both. `mappers` is taken over; null: nobody
  // comes from a page to its mappings.
  PageCache(FramePool& frames, BackingObject& object, Mappers* mappers = nullptr) noexcept
      : frames_(frames), object_(object), mappers_(mappers) {}
  ~PageCache();
  PageCache(const PageCache&) = delete;
  PageCache& operator=(const PageCache&) = delete;

  static PageCache& of(const OpenFile& file) noexcept {
    return *static_cast<PageCache*>(file.pages());
  }

  // The page's frame at this moment, or none: it stays while the object is long enough for it.
  [[nodiscard]] Frame find(uint64_t index) const noexcept;
  // The same, with a reference for the caller.
  [[nodiscard]] Frame find_held(uint64_t index) const noexcept;

  enum class End : uint8_t { found, unreadable, out_of_memory, interrupted };
  struct Page {
    End end;
    Frame frame;  // when found, with a reference for the caller
  };
  // The page's frame, read in when it is not there.
  [[nodiscard]] Page get_or_fill(uint64_t index, const std::stop_token& stop = {}) noexcept;
  // Puts a frame in as the page, if there is none: one reference of it, and its bytes, are the
  // cache's then.
  enum class Put : uint8_t { done, there, out_of_memory };
  [[nodiscard]] Put put(uint64_t index, Frame frame) noexcept;
  // Reads the page in when it is not there.
  End fill(uint64_t index, const std::stop_token& stop = {}) noexcept;

  // Drops the pages that begin beyond the object's size and empties the rest of the last one.
  // Mappings of them are the caller's to undo, afterwards: whoever maps a page asks, under the lock
  // of the entry's table, whether a truncation began since he looked at the size (truncations.h).
  void truncate() noexcept;
  uint32_t truncations() const noexcept { return truncations_.count(); }
  // Calls visit(index, frame) for every page of [first, first + count) that is there.
  template <class Visit>
  void for_each(uint64_t first, uint64_t count, Visit visit) noexcept;

  BackingObject& object() const noexcept { return object_; }
  Mappers* mappers() const noexcept { return mappers_; }
  // Held by one write-back at a time, also while the object writes: who comes second must not
  // return before what the first took is kept.
  std::mutex& write_back_mutex() noexcept { return write_back_mutex_; }

  // How many pages begin below the object's size.
  [[nodiscard]] uint64_t pages() const noexcept {
    const uint64_t size = object_.size();
    return (size >> kPageShift) + ((size & kPageMask) != 0 ? 1 : 0);
  }
  [[nodiscard]] bool has_page(uint64_t index) const noexcept { return index < pages(); }

 private:
  static constexpr unsigned kIndexBits = 6;
  static constexpr unsigned kSlots = 1u << kIndexBits;
  static constexpr uint32_t kFilling = ~uint32_t{0};
  static constexpr uint32_t kFillingAwaited = kFilling - 1;
  static constexpr uint32_t kFillingStale = kFilling - 2;

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
  using Word = BasicCacheWord<NativePlatform>;
  using Slot = Word::Slot;

  static unsigned slot_of(uint64_t index, unsigned shift) noexcept {
    return static_cast<unsigned>(index >> shift) & (kSlots - 1);
  }
  static bool covers(const Node& node, uint64_t index) noexcept {
    return node.shift + kIndexBits >= 64 || (index >> (node.shift + kIndexBits)) == 0;
  }
  static Node* make_node(unsigned shift) noexcept;
  static bool is_page(uint32_t value) noexcept { return value != 0 && value < kFillingStale; }

  Slot* find_slot(uint64_t index) const noexcept;
  Slot* make_slot(uint64_t index) noexcept;
  bool grow(uint64_t index) noexcept;  // Under nodes_mutex_.
  Page read_in(Slot& slot, uint64_t index) noexcept;
  void drop_from(Node& node, uint64_t base, uint64_t first, FrameGather& gather) noexcept;
  bool take_out(Slot& slot, uint32_t value, FrameGather& gather) noexcept;
  // False: stopped.
  static bool wait_until_filled(Slot& slot, uint32_t seen, const std::stop_token& stop) noexcept;
  void destroy(Node* node, FrameGather& gather) noexcept;

  FramePool& frames_;
  BackingObject& object_;
  Mappers* const mappers_;  // held
  BasicTruncations<NativePlatform> truncations_;
  std::atomic<Node*> root_{nullptr};
  std::mutex write_back_mutex_;
  std::mutex nodes_mutex_;  // for making nodes; nothing else is locked under it
};

template <class Visit>
void PageCache::for_each(uint64_t first, uint64_t count, Visit visit) noexcept {
  for (uint64_t i = first; i - first < count; ++i) {
    Slot* const slot = find_slot(i);
    if (slot == nullptr) {
      i |= kSlots - 1;  // Nothing in this leaf.
      continue;
    }
    const Frame frame = find_held(i);
    if (!frame) continue;
    visit(i, frame);
    FrameGather gather;
    frames_.drop(frame, gather);
    frames_.retire(gather);
  }
}

}  // namespace pervma

// frame_word.h: the words that a frame is counted and found by. The functions are a template over
// the platform that the atomics belong to, so that checkers run these very lines (sync/site.h).
//
//   refs     0: free, or on its way there; else how many entries and caches have the frame, and
//            who is at work on it
//   mappers  who may have entries for the page, and
//   index    the page's number there (mappers.h)
//   dirty    of a page of a file's cache: whether a mapping was allowed to write it since it was
//            last given to the object
//
// The last reference takes the pointer with it. Whoever comes from the pointer takes both, the list
// and the frame, unless one of them is on its way out (mappers.h).
#pragma once

#include <atomic>
#include <cstdint>

#include "sync/platform.h"

namespace pervma {

template <class P, class List>
struct BasicFrameWord {
  using Refs = typename P::template Atomic<uint32_t>;
  using Owner = typename P::template Atomic<List*>;
  using Index = typename P::template Atomic<uint64_t>;

  // For who has no reference. False: the frame is on its way out. Relaxed: what the frame holds
  // came with the entry, the slot or the pointer by which it was found.
  static bool try_hold(Refs& refs) noexcept {
    uint32_t n = refs.load(std::memory_order_relaxed);
    do {
      if (P::keep(Site::frame_hold_refuses_free) && n == 0) return false;
    } while (!refs.compare_exchange_weak(n, n + 1, std::memory_order_relaxed));
    return true;
  }
  // How many there were. Acquire: whoever frees the frame comes after all that the other holders
  // did with it.
  static uint32_t drop(Refs& refs) noexcept {
    return refs.fetch_sub(1, P::order(Site::frame_drop,
                                      std::memory_order_acq_rel));  // [F2] pairs with [F1], [F2]
  }
  static bool is_sole(const Refs& refs) noexcept {
    return refs.load(P::order(Site::frame_is_sole, std::memory_order_acquire)) == 1;  // [F1] [F2]
  }

  // Under the lock of the table whose entry has just got the right to write.
  static void mark_dirty(Refs& dirty) noexcept {
    (void)dirty.fetch_or(1, P::order(Site::frame_dirty, std::memory_order_release));  // [F17] [F18]
  }
  // Takes the mark off. Whoever does sees the tables of all who have set it, though only the last
  // one's mark was there: they are one release sequence.
  static void take_dirty(Refs& dirty) noexcept {
    (void)dirty.exchange(
        0, P::order(Site::frame_write_back, std::memory_order_acquire));  // [F18] with [F17]
  }

  // Says whose page the frame is, before it is published.
  static void set_owner(Owner& owner, Index& index, List* list, uint64_t number) noexcept {
    index.store(number, std::memory_order_relaxed);
    owner.store(list, P::order(Site::frame_owned, std::memory_order_release));  // [F19] with [F20]
  }
  // Whoever finds the pointer from now on could outlive what it points to.
  static void clear_owner(Owner& owner) noexcept {
    owner.store(nullptr, std::memory_order_relaxed);
  }
  static List* owner(const Owner& owner) noexcept {
    return owner.load(P::order(Site::frame_owner, std::memory_order_acquire));  // [F20] with [F19]
  }
  // The list that the frame leads to, and the page's number there, with a reference of each for who
  // has nothing; or none.
  struct Found {
    List* list = nullptr;
    uint64_t index = 0;
  };
  static Found find(Refs& refs, const Owner& mappers, const Index& index) noexcept {
    const typename P::RcuRead rcu;
    const Found found{owner(mappers), index.load(std::memory_order_relaxed)};
    if (found.list == nullptr) return {};
    const bool held = found.list->try_hold();
    if (P::keep(Site::frame_find_refuses_ended_list) && !held) return {};
    if (try_hold(refs)) return found;
    found.list->drop();
    return {};
  }
};

}  // namespace pervma

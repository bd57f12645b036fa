// vma_mark.h: the two words that every VMA lock has on the VMA's first line: the mark of the last
// write lock, and the space.
#pragma once

#include <cstdint>

#include "sync/assert.h"
#include "sync/mmap_lock.h"

namespace pervma {

template <class P>
struct BasicVmaMark {
  using Space = BasicMmapLock<P>;

  static constexpr uint64_t kNever = 0;  // A mark that no write hold's sequence equals.

  // The space's write sequence at the last write lock. Changed under the mmap write lock with
  // readers excluded, or while detached. Read exactly by the write holder; read stale by readers,
  // who compare again after they are counted.
  typename P::template Atomic<uint64_t> vm_lock_seq{kNever};
  // The space's lock, the VMA's `mm`. Written while detached, before attach(). Plain: it is read
  // only by who is counted, and being counted acquires from attach().
  typename P::template Plain<const Space*> owner{nullptr};

  // For a VMA fresh from the allocator.
  void init(const Space& space) noexcept {
    vm_lock_seq.store(kNever, std::memory_order_relaxed);
    owner = &space;
  }
  void set(const Space& space) noexcept {
    vm_lock_seq.store(space.seq_relaxed(), std::memory_order_relaxed);
  }
  [[nodiscard]] bool is_of(const Space& space) const noexcept { return owner == &space; }
  // Whether the mark is this hold's; for readers a guess.
  [[nodiscard]] bool is_current(const Space& space) const noexcept {
    return vm_lock_seq.load(std::memory_order_relaxed) == space.seq_relaxed();
  }
  // The same, ordered after a reader was counted. A hold that has ended shows all that it wrote.
  [[nodiscard]] bool is_current_acquire(const Space& space) const noexcept {
    return vm_lock_seq.load(std::memory_order_relaxed) == space.seq_acquire();
  }
  // Exact for the holder of the mmap write lock.
  [[nodiscard]] bool is_write_locked(const Space& space) const noexcept {
    return is_current(space) && space.is_held_for_write();
  }
};

}  // namespace pervma

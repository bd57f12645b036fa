// lock_tracker.h: which locks this thread holds, so that debug builds can assert exactly and abort
// on a forbidden order. In release all that is left is the static probes (probes.h): the tracker is
// told of every lock that is taken and given back.
//
// A count cannot prove that this thread holds a VMA's read lock (others raise it too); the tracker
// can. VMA write locks need no entry: a mark equal to the sequence of an mmap lock that this thread
// holds for write is exact. Locks are released by the thread that took them.
//
// The order is mmap lock > VMA > file > anon lock > page-table lock. Forbidden, because the wait
// can close a circle: waiting for an mmap lock, or draining the readers of a VMA, while holding any
// VMA's read lock (a second VMA is taken by trying only) or a lock further down; waiting for one of
// those while holding one below it; taking an mmap lock that this thread already holds. A violation
// prints the stack where it happens and the stacks where the held locks were taken.
#pragma once

#include <cstdint>

#include "sync/assert.h"
#include "sync/probes.h"

namespace pervma {

class LockTracker {
 public:
  enum class Kind : uint8_t {
    mmap_read,
    mmap_write,
    vma_read,
    file,        // of an object's pages
    anon,        // of a space's identities
    page_table,  // of a table's entries, and of the frames behind them: innermost
  };

  static void acquired(Kind kind, const void* lock) noexcept {
    if (kind == Kind::mmap_read) PERVMA_PROBE(mmap_acquire, lock, 0);
    if (kind == Kind::mmap_write) PERVMA_PROBE(mmap_acquire, lock, 1);
    if (kind == Kind::vma_read) PERVMA_PROBE(vma_read, lock, 0);
    if constexpr (kDebugChecks) push(kind, lock);
  }
  // Aborts when this thread does not hold it.
  static void released(Kind kind, const void* lock) noexcept {
    if (kind == Kind::mmap_read) PERVMA_PROBE(mmap_release, lock, 0);
    if (kind == Kind::mmap_write) PERVMA_PROBE(mmap_release, lock, 1);
    if constexpr (kDebugChecks) pop(kind, lock);
  }
  static void downgraded(const void* lock) noexcept {
    PERVMA_PROBE(mmap_release, lock, 2);
    if constexpr (kDebugChecks) replace(lock);
  }
  // Before a wait for an mmap lock: aborts when the order is forbidden.
  static void about_to_wait_for_mmap_lock(const void* lock) noexcept {
    if constexpr (kDebugChecks) check_mmap_wait(lock);
  }
  // Before a VMA's readers are drained.
  static void about_to_drain_vma(const void* lock) noexcept {
    if constexpr (kDebugChecks) check_drain(lock);
  }
  // Before a wait for a lock of a kind below the VMAs'.
  static void about_to_wait_for(Kind kind, const void* lock) noexcept {
    if constexpr (kDebugChecks) check_inner(kind, lock);
  }
  static void assert_held(Kind kind, const void* lock) noexcept {
    if constexpr (kDebugChecks) check_held(kind, lock);
  }
  // Always true in release: what is not tracked cannot be denied.
  [[nodiscard]] static bool may_hold(Kind kind, const void* lock) noexcept {
    if constexpr (kDebugChecks) {
      return holds(kind, lock);
    } else {
      return true;
    }
  }

  // The number of locks of a kind that this thread holds; 0 in release.
  [[nodiscard]] static uint32_t count(Kind kind) noexcept;

 private:
  static void push(Kind kind, const void* lock) noexcept;
  static void pop(Kind kind, const void* lock) noexcept;
  static void replace(const void* lock) noexcept;
  static bool holds(Kind kind, const void* lock) noexcept;
  static void check_held(Kind kind, const void* lock) noexcept;
  static void check_mmap_wait(const void* lock) noexcept;
  static void check_drain(const void* lock) noexcept;
  static void check_inner(Kind kind, const void* lock) noexcept;
};

}  // namespace pervma

// vma.h: one VMA of a design that takes read locks, for the plain harnesses.
#pragma once

#include "platform.h"
#include "sync/mmap_lock_slow.h"
#include "sync/vma_lock.h"

namespace pervma::litmus {

using P = LitmusPlatform;
using Space = BasicMmapLock<P>;

template <class L>
struct Vma {
  typename L::Near near;
  typename L::Far far;
  // A reader inside finds them equal; a free VMA's memory has a link in `first`.
  uint64_t first = 0;
  uint64_t second = 0;

  void set(uint64_t value) {
    first = value;
    second = value;
  }
  void attach(Space& mm, uint64_t value) {
    (void)L::init(near, far, mm);
    set(value);
    (void)L::lock_write(near, far, mm);
    L::attach(near, far, mm);
  }
  // In a hold of its own, before the threads run.
  void make(Space& mm, uint64_t value) {
    mm.lock_write();
    attach(mm, value);
    mm.unlock_write();
  }
  void detach(Space& mm) {
    (void)L::lock_write(near, far, mm);
    L::detach(near, far, mm);
    first = ~uint64_t{0};
  }
  // What an attempt saw; 0 when it was refused.
  uint64_t try_read(Space& mm) {
    const auto attempt = L::begin_read(near, far, mm);
    if (attempt.outcome != ReadTry::locked) return 0;
    const uint64_t value = first;
    assert(value == second);
    L::end_read(far, attempt.token);
    return value;
  }
  void write_hold(Space& mm, uint64_t value) {
    mm.lock_write();
    (void)L::lock_write(near, far, mm);
    set(value);
    mm.unlock_write();
  }
  // The same, unless it is stopped while it waits for readers.
  void write_hold_or_stop(Space& mm, uint64_t value, const LitmusStop& stop) {
    mm.lock_write();
    if (L::lock_write(near, far, mm, stop)) set(value);
    mm.unlock_write();
  }
  // The memory goes from one space to another.
  void pass(Space& from, Space& to, uint64_t value) {
    from.lock_write();
    detach(from);
    from.unlock_write();
    to.lock_write();
    attach(to, value);
    to.unlock_write();
  }
};

// The second of two reads at once finds the count it guessed wrong: a failed exchange, after which
// a reader of the design `scalable` makes the VMA hot.
template <class L>
void read_twice_at_once(Space& mm, Vma<L>& vma) {
  const auto one = L::begin_read(vma.near, vma.far, mm);
  const auto two = L::begin_read(vma.near, vma.far, mm);
  if (two.outcome == ReadTry::locked) L::end_read(vma.far, two.token);
  if (one.outcome == ReadTry::locked) L::end_read(vma.far, one.token);
}
template <class L>
void make_hot(Space& mm, Vma<L>& vma) {
  read_twice_at_once(mm, vma);
  assert(L::is_hot(vma.far));
}

}  // namespace pervma::litmus

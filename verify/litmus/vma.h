// vma.h: one VMA of the design `refcount`, for the plain harnesses.
#pragma once

#include "platform.h"
#include "sync/mmap_lock_slow.h"
#include "sync/vma_lock_refcount.h"

namespace pervma::litmus {

using P = LitmusPlatform;
using Space = BasicMmapLock<P>;
using Lock = BasicRefcountLock<P>;

struct Vma {
  Lock::Near near;
  Lock::Far far;
  // A reader inside finds them equal; a free VMA's memory has a link in `first`.
  uint64_t first = 0;
  uint64_t second = 0;

  void set(uint64_t value) {
    first = value;
    second = value;
  }
  void attach(Space& mm, uint64_t value) {
    (void)Lock::init(near, far, mm);
    set(value);
    (void)Lock::lock_write(near, far, mm);
    Lock::attach(near, far, mm);
  }
  void detach(Space& mm) {
    (void)Lock::lock_write(near, far, mm);
    Lock::detach(near, far, mm);
    first = ~uint64_t{0};
  }
  // What an attempt saw; 0 when it was refused.
  uint64_t try_read(Space& mm) {
    const auto attempt = Lock::begin_read(near, far, mm);
    if (attempt.outcome != ReadTry::locked) return 0;
    const uint64_t value = first;
    assert(value == second);
    Lock::end_read(far, attempt.token);
    return value;
  }
  void write_hold(Space& mm, uint64_t value) {
    mm.lock_write();
    (void)Lock::lock_write(near, far, mm);
    set(value);
    mm.unlock_write();
  }
};

}  // namespace pervma::litmus

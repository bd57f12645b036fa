// speculative_vma.h: one VMA of the design `speculative`, whose readers copy and validate.
#pragma once

#include "platform.h"
#include "sync/mmap_lock_slow.h"
#include "sync/racy.h"
#include "sync/vma_lock_speculative.h"

namespace pervma::litmus {

using P = LitmusPlatform;
using Space = BasicMmapLock<P>;

struct SpeculativeVma {
  using Lock = BasicSpeculativeDesign<P>;
  Lock::Near near;
  Lock::Far far;
  // A free VMA's memory has a link in `first`.
  BasicRacy<P, uint64_t> first;
  BasicRacy<P, uint64_t> second;

  // Under the space's write lock.
  void attach(Space& space, uint64_t value) {
    (void)Lock::init(near, far, space);
    first = value;
    second = value;
    (void)Lock::lock_write(near, far, space);
    Lock::attach(near, far, space);
  }
  void detach(Space& space) {
    (void)Lock::lock_write(near, far, space);
    Lock::detach(near, far, space);
    first = ~uint64_t{0};
  }
  // In a hold of its own, before the threads run.
  void make(Space& space, uint64_t value) {
    space.lock_write();
    attach(space, value);
    space.unlock_write();
  }
  // A copy that is valid is whole, and of the space's own VMA.
  void copy(Space& space, uint64_t value) {
    const auto attempt = Lock::begin_read(near, far, space);
    if (attempt.outcome != ReadTry::locked) return;
    const uint64_t a = first;
    const uint64_t b = second;
    if (!Lock::still_valid(near, space, attempt.token)) return;
    assert(a == value && b == value);
  }
};

}  // namespace pervma::litmus

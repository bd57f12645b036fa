// vma_scenarios.h: the rules of a VMA lock as scenarios, for every design that takes read locks.
//
// The fields of a VMA are plain: that a reader inside and a writer inside never overlap, and that
// each sees what the other did before, is what Relacy's race detector checks. Their values tell
// which life of the memory a reader is in.
#pragma once

#include "harness.h"
#include "sync/mmap_lock_slow.h"
#include "sync/vma_lock.h"

namespace pervma::verify {

using P = RelacyPlatform;
using Space = BasicMmapLock<P>;

template <class L>
struct TestVma {
  typename L::Near near;
  typename L::Far far;
  // A reader finds them equal. A free VMA's memory has a link in `first`.
  RelacyPlain<uint64_t> first{0};
  RelacyPlain<uint64_t> second{0};

  void set(uint64_t value) {
    first = value;
    second = value;
  }
  uint64_t get() const {
    const uint64_t value = first;
    RL_ASSERT(value == second);
    return value;
  }
};

// A new VMA of the space, write-locked until the caller's hold ends.
template <class L>
void attach_new(Space& mm, TestVma<L>& v, uint64_t value) {
  RL_ASSERT(L::init(v.near, v.far, mm));
  v.set(value);
  RL_ASSERT(L::lock_write(v.near, v.far, mm));
  L::attach(v.near, v.far, mm);
}

template <class L>
void detach_and_free(Space& mm, TestVma<L>& v) {
  RL_ASSERT(L::lock_write(v.near, v.far, mm));
  L::detach(v.near, v.far, mm);
  L::retire(v.near, v.far);
  v.first = ~uint64_t{0};  // the free list's link
}

template <class L>
void write_hold(Space& mm, TestVma<L>& v, uint64_t value) {
  mm.lock_write();
  RL_ASSERT(L::lock_write(v.near, v.far, mm));
  v.set(value);
  mm.unlock_write();
}

// What an attempt saw; 0 when it was refused.
template <class L>
uint64_t try_read(Space& mm, TestVma<L>& v) {
  const P::RcuRead rcu;
  const auto attempt = L::begin_read(v.near, v.far, mm);
  if (attempt.outcome != ReadTry::locked) return 0;
  const uint64_t value = v.get();
  L::end_read(v.far, attempt.token);
  return value;
}

// One VMA, attached, with the value 10.
template <class L, class Self, int kThreads>
struct VmaScenario : Scenario<Self, kThreads> {
  Space mm;
  TestVma<L> vma;

  void before() {
    mm.lock_write();
    attach_new<L>(mm, vma, 10);
    mm.unlock_write();
  }
  // What a design has made for the VMA goes with its detach.
  void after() {
    mm.lock_write();
    if (!L::is_detached(vma.far)) detach_and_free<L>(mm, vma);
    mm.unlock_write();
  }
};

// Rule 1, and R6: whoever reads finds a whole change, and nobody changes what is read.
template <class L>
struct ReaderAgainstWriter : VmaScenario<L, ReaderAgainstWriter<L>, 2> {
  void thread(unsigned i) {
    if (i == 0) {
      (void)try_read<L>(this->mm, this->vma);
    } else {
      write_hold<L>(this->mm, this->vma, 11);
    }
  }
};

// The last reader out wakes the writer.
template <class L>
struct TwoReadersAgainstWriter : VmaScenario<L, TwoReadersAgainstWriter<L>, 3> {
  void thread(unsigned i) {
    if (i < 2) {
      (void)try_read<L>(this->mm, this->vma);
    } else {
      write_hold<L>(this->mm, this->vma, 11);
    }
  }
};

// A reader may find the sequence of a later hold, one that does not touch the VMA.
template <class L>
struct ReaderAgainstTwoHolds : VmaScenario<L, ReaderAgainstTwoHolds<L>, 3> {
  void thread(unsigned i) {
    if (i == 0) {
      (void)try_read<L>(this->mm, this->vma);
    } else if (i == 1) {
      write_hold<L>(this->mm, this->vma, 11);
    } else {
      this->mm.lock_write();
      this->mm.unlock_write();
    }
  }
};

// Two writers of the VMA, and a second one's "already locked" must be about its own hold.
template <class L>
struct ReaderAgainstTwoWriters : VmaScenario<L, ReaderAgainstTwoWriters<L>, 3> {
  void thread(unsigned i) {
    if (i == 0) {
      (void)try_read<L>(this->mm, this->vma);
    } else {
      write_hold<L>(this->mm, this->vma, 10 + i);
    }
  }
  void after() {
    RL_ASSERT(try_read<L>(this->mm, this->vma) >= 11);
    VmaScenario<L, ReaderAgainstTwoWriters<L>, 3>::after();
  }
};

// Downgrade ends the VMA write locks; what the holder reads afterwards is shared with readers.
template <class L>
struct Downgrade : VmaScenario<L, Downgrade<L>, 2> {
  void thread(unsigned i) {
    if (i == 0) {
      (void)try_read<L>(this->mm, this->vma);
      return;
    }
    this->mm.lock_write();
    RL_ASSERT(L::lock_write(this->vma.near, this->vma.far, this->mm));
    this->vma.set(11);
    this->mm.downgrade();
    RL_ASSERT(this->vma.get() == 11);
    this->mm.unlock_read();
  }
};

// A read lock taken under the mmap read lock outlives it, and keeps writers out as any other.
template <class L>
struct ReadLockedUnderMmapLock : VmaScenario<L, ReadLockedUnderMmapLock<L>, 2> {
  void thread(unsigned i) {
    if (i == 1) {
      write_hold<L>(this->mm, this->vma, 11);
      return;
    }
    this->mm.lock_read();
    const auto attempt = L::start_read_locked(this->vma.near, this->vma.far, this->mm);
    RL_ASSERT(attempt.outcome == ReadTry::locked);
    this->mm.unlock_read();
    (void)this->vma.get();
    L::end_read(this->vma.far, attempt.token);
  }
};

// R30: the VMA was last marked 128 write holds ago. With 8 bits the next hold has the sequence of
// that mark, and its writer would take the VMA for its own without waiting for the reader.
template <class L>
struct SequenceWraps : VmaScenario<L, SequenceWraps<L>, 2> {
  void before() {
    VmaScenario<L, SequenceWraps<L>, 2>::before();
    for (int hold = 0; hold < 127; ++hold) {
      this->mm.lock_write();
      this->mm.unlock_write();
    }
  }
  void thread(unsigned i) {
    if (i == 0) {
      (void)try_read<L>(this->mm, this->vma);
    } else {
      write_hold<L>(this->mm, this->vma, 11);
    }
  }
};

// R18: a writer that was stopped leaves nothing behind: readers and the next writer get in.
template <class L>
struct KillableAbort : VmaScenario<L, KillableAbort<L>, 3> {
  RelacyStopSource stop;

  void thread(unsigned i) {
    if (i == 0) {
      (void)try_read<L>(this->mm, this->vma);
    } else if (i == 1) {
      this->mm.lock_write();
      if (L::lock_write(this->vma.near, this->vma.far, this->mm, stop.token())) this->vma.set(11);
      this->mm.unlock_write();
    } else {
      stop.request_stop();
    }
  }
  void after() {
    RL_ASSERT(try_read<L>(this->mm, this->vma) != 0);
    write_hold<L>(this->mm, this->vma, 12);
    RL_ASSERT(try_read<L>(this->mm, this->vma) == 12);
    VmaScenario<L, KillableAbort<L>, 3>::after();
  }
};

// R23: a detach waits for readers that back out; the memory is free when it returns.
template <class L>
struct DetachAndFree : VmaScenario<L, DetachAndFree<L>, 2> {
  void thread(unsigned i) {
    if (i == 0) {
      (void)try_read<L>(this->mm, this->vma);
      return;
    }
    this->mm.lock_write();
    detach_and_free<L>(this->mm, this->vma);
    this->mm.unlock_write();
  }
  void after() {
    RL_ASSERT(L::begin_read(this->vma.near, this->vma.far, this->mm).outcome == ReadTry::detached);
  }
};

// Who holds the mmap lock for read is told whether the VMA is attached; a munmap may have taken it
// away, and gone on as a reader.
template <class L>
struct DetachedUnderMmapLock : VmaScenario<L, DetachedUnderMmapLock<L>, 2> {
  void thread(unsigned i) {
    if (i == 1) {
      this->mm.lock_write();
      detach_and_free<L>(this->mm, this->vma);
      this->mm.downgrade();
      this->mm.unlock_read();
      return;
    }
    this->mm.lock_read();
    const auto attempt = L::start_read_locked(this->vma.near, this->vma.far, this->mm);
    RL_ASSERT((attempt.outcome == ReadTry::detached) == L::is_detached(this->vma.far));
    if (attempt.outcome == ReadTry::locked) L::end_read(this->vma.far, attempt.token);
    this->mm.unlock_read();
  }
};

// R14, R16, R22: the memory becomes a VMA of another space, whose detacher may have to wait for a
// reader of the first, and which is gone at once afterwards.
template <class L>
struct ReuseByAnotherSpace : VmaScenario<L, ReuseByAnotherSpace<L>, 2> {
  std::optional<Space> other{std::in_place};

  void thread(unsigned i) {
    if (i == 0) {
      const uint64_t seen = try_read<L>(this->mm, this->vma);
      RL_ASSERT(seen == 0 || seen == 10);
      return;
    }
    this->mm.lock_write();
    detach_and_free<L>(this->mm, this->vma);
    this->mm.unlock_write();
    other->lock_write();
    attach_new<L>(*other, this->vma, 20);
    other->unlock_write();
    other->lock_write();
    detach_and_free<L>(*other, this->vma);
    other->unlock_write();
    other.reset();
  }
};

// The same with the reuse in the VMA's own space: the reader finds one life or the other.
template <class L>
struct ReuseInOneSpace : VmaScenario<L, ReuseInOneSpace<L>, 2> {
  void thread(unsigned i) {
    if (i == 0) {
      const uint64_t seen = try_read<L>(this->mm, this->vma);
      RL_ASSERT(seen == 0 || seen == 10 || seen == 20);
      return;
    }
    this->mm.lock_write();
    detach_and_free<L>(this->mm, this->vma);
    attach_new<L>(this->mm, this->vma, 20);
    this->mm.unlock_write();
  }
};

}  // namespace pervma::verify

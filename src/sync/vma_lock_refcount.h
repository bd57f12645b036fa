// vma_lock_refcount.h: the default design: a 32-bit count in every VMA (vma_refcount.h), 64-bit
// sequences (vma_mark.h), and readers that never wait.
//
// Unlocked readers look at vm_refcnt and vm_lock_seq only, because the VMA's memory may have been
// freed and be somebody else's VMA by now (it stays a VMA: type-stable). So neither atomic is ever
// constructed anew, and init() leaves the count alone.
#pragma once

#include <cstdint>
#include <string_view>

#include "sync/cpu.h"
#include "sync/vma_lock.h"
#include "sync/vma_mark.h"
#include "sync/vma_refcount.h"

namespace pervma {

template <class P>
class BasicRefcountLock {
 public:
  static constexpr std::string_view kName = "refcount";
  static constexpr ReadKind kReadKind = ReadKind::locked;
  static constexpr FarPlace kFarPlace = FarPlace::second_line;
  static constexpr bool kFreesByRcu = false;

  using Count = BasicVmaRefcount<P>;
  static constexpr uint32_t kExclude = Count::kExclude;
  static constexpr uint32_t kLimit = Count::kLimit;
  static constexpr uint32_t kRetired = Count::kRetired;
  static constexpr uint64_t kNever = BasicVmaMark<P>::kNever;

  using Space = BasicMmapLock<P>;
  using StopToken = typename P::StopToken;
  using Token = NoToken;
  using Attempt = ReadAttempt<Token>;

  using Near = BasicVmaMark<P>;
  struct Far {
    typename P::template Atomic<uint32_t> vm_refcnt{0};  // The table of vma_refcount.h.
  };

  // For a VMA fresh from the allocator: detached, not marked. Never fails.
  static bool init(Near& near, Far& far, const Space& owner) noexcept {
    PERVMA_ASSERT(is_detached(far));
    near.init(owner);
    return true;
  }
  // The VMA goes back to the allocator: asserts that it is detached and nobody reads.
  static void retire(Near&, Far& far) noexcept {
    PERVMA_ASSERT_OP(far.vm_refcnt.load(std::memory_order_relaxed), ==, 0u);
  }

  // Tries to lock for reading. On `locked` the caller checks the bounds next, and ends the read
  // when they do not cover its address. Lock-free, never waits; one RMW, about 7 ns uncontended.
  static Attempt begin_read(Near& near, Far& far, const Space& space) noexcept;
  // The same under the mmap read lock: no writer can be met, only the limit of readers.
  static Attempt start_read_locked(Near& near, Far& far, const Space& space) noexcept;
  // A count that was taken stays valid until it is given back.
  static bool still_valid(const Near&, const Space&, const Token&) noexcept { return true; }
  // Touches nothing of the VMA after the decrement: it may be freed by then. Wait-free.
  static void end_read(Far& far, const Token&) noexcept {
    P::Tracker::released(P::Tracker::Kind::vma_read, &far);
    Count::leave(far.vm_refcnt);
  }

  // Excludes readers until the mmap write hold ends. Waits for the readers that are inside; free
  // when already done under this hold. False: stopped while waiting, and everything is as before.
  [[nodiscard]] static bool lock_write(Near& near, Far& far, Space& space,
                                       const StopToken& stop = {}) noexcept;
  // Opens a detached, write-locked VMA to readers (who still see the mark until the hold ends).
  static void attach(Near& near, Far& far, Space& space) noexcept;
  // Closes a write-locked VMA; waits for readers that are backing out. Afterwards it may be freed
  // and reused at once.
  static void detach(Near& near, Far& far, Space& space) noexcept;

  // Closes an attached VMA to new readers for good, and waits for nobody: the last reader's end
  // calls P::last_out(). True: there was none, and the VMA is the caller's now. Wait-free.
  [[nodiscard]] static bool retire_attached(Far& far) noexcept {
    return Count::retire(far.vm_refcnt);
  }
  // The owner of a retired VMA makes it an unmarked, detached one.
  static void reclaim_retired(Near& near, Far& far) noexcept {
    near.vm_lock_seq.store(kNever, std::memory_order_relaxed);
    Count::reclaim(far.vm_refcnt);
  }

  // Exact for the holder of the mmap write lock.
  static bool is_write_locked(const Near& near, const Space& space) noexcept {
    return near.is_write_locked(space);
  }
  static bool is_detached(const Far& far) noexcept { return !Count::is_open(far.vm_refcnt); }
  // Read-locked by somebody, or write-locked. In debug builds, read-locked by this thread.
  static bool is_read_locked_or_more(const Near& near, const Far& far,
                                     const Space& space) noexcept {
    return near.is_write_locked(space) ||
           (reader_count(far) != 0 && P::Tracker::may_hold(P::Tracker::Kind::vma_read, &far));
  }
  // A moment's number of readers, those backing out included.
  static uint32_t reader_count(const Far& far) noexcept { return Count::readers(far.vm_refcnt); }
};

template <class P>
inline typename BasicRefcountLock<P>::Attempt BasicRefcountLock<P>::begin_read(
    Near& near, Far& far, const Space& space) noexcept {
  // The count may lie in another line than the mark, and the exchange would ask for it only when
  // all before it is done.
  prefetch_for_write(&far.vm_refcnt);
  // For speed only: a VMA that is marked now is not worth an exchange on its count.
  if (near.is_current(space)) return {ReadTry::contended, {}};
  const Entry entry = Count::try_enter(far.vm_refcnt);
  if (entry != Entry::entered) return {refusal(entry), {}};
  P::hook(Hook::read_after_increment);
  // From here on the VMA stays what it is; but is it the one we looked up, and is it free?
  if (P::keep(Site::vma_reader_compares_owner) && near.owner != &space) {
    Count::leave(far.vm_refcnt);
    return {ReadTry::detached, {}};
  }
  // A writer that marked after our increment waits for us; one that marked before it and is still
  // in is seen here.
  if (P::keep(Site::vma_reader_compares_seq) && near.is_current_acquire(space)) {
    Count::leave(far.vm_refcnt);
    return {ReadTry::contended, {}};
  }
  P::Tracker::acquired(P::Tracker::Kind::vma_read, &far);
  return {ReadTry::locked, {}};
}

template <class P>
inline typename BasicRefcountLock<P>::Attempt BasicRefcountLock<P>::start_read_locked(
    Near& near, Far& far, const Space& space) noexcept {
  space.assert_held();
  PERVMA_DASSERT(near.owner == &space);
  const Entry entry = Count::try_enter_kept(far.vm_refcnt);
  if (entry != Entry::entered) return {refusal(entry), {}};
  P::Tracker::acquired(P::Tracker::Kind::vma_read, &far);
  return {ReadTry::locked, {}};
}

template <class P>
bool BasicRefcountLock<P>::lock_write(Near& near, Far& far, Space& space,
                                      const StopToken& stop) noexcept {
  space.assert_held_write();
  PERVMA_DASSERT(near.owner == &space);
  if (near.is_current(space)) return true;
  // Only a holder of the mmap write lock attaches or detaches: 0 stays 0, anything else not 0.
  if (P::keep(Site::vma_writer_spares_detached) && is_detached(far)) {
    near.set(space);
    return true;
  }
  P::Tracker::about_to_drain_vma(&far);
  if (!Count::exclude(far.vm_refcnt, stop)) return false;
  if (P::keep(Site::vma_writer_marks_inside)) near.set(space);
  Count::admit(far.vm_refcnt);
  if (!P::keep(Site::vma_writer_marks_inside)) near.set(space);
  return true;
}

template <class P>
void BasicRefcountLock<P>::attach(Near& near, Far& far, Space& space) noexcept {
  space.assert_held_write();
  PERVMA_ASSERT(is_write_locked(near, space));
  PERVMA_ASSERT(is_detached(far));
  Count::open(far.vm_refcnt);
}

template <class P>
void BasicRefcountLock<P>::detach(Near& near, Far& far, Space& space) noexcept {
  space.assert_held_write();
  PERVMA_ASSERT(is_write_locked(near, space));
  P::Tracker::about_to_drain_vma(&far);
  Count::close(far.vm_refcnt);
}

}  // namespace pervma

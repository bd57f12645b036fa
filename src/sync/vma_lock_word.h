// vma_lock_word.h: the designs of the first per-VMA lock series (2023): a word with readers and one
// writer (vma_rwsem.h, vma_count.h) at some place (vma_word_place.h), and the mark of vma_mark.h.
//
// Unlike the word of `refcount`, theirs says nothing of being attached to readers that count
// themselves in: being detached is a value of the word that only the writer sets. Their VMAs can be
// freed after an RCU grace period, as that series did, or be reusable at once: nobody can be
// counted into a detached VMA, so nobody looks at more than its mark and its word.
#pragma once

#include <string_view>

#include "sync/vma_count.h"
#include "sync/vma_lock.h"
#include "sync/vma_mark.h"
#include "sync/vma_rwsem.h"
#include "sync/vma_word_place.h"

namespace pervma {

// For the meaning of each function see vma_lock_refcount.h.
template <class P, class Word, class Place>
class BasicWordLock {
 public:
  static constexpr ReadKind kReadKind = ReadKind::locked;
  static constexpr FarPlace kFarPlace = Place::kFarPlace;
  static constexpr bool kFreesByRcu = true;
  static constexpr unsigned kOwnObjectBytes = Place::kOwnObjectBytes;

  using Space = BasicMmapLock<P>;
  using StopToken = typename P::StopToken;
  using Token = NoToken;
  using Attempt = ReadAttempt<Token>;
  using Near = BasicVmaMark<P>;
  using Far = typename Place::template Far<P, Word>;

  static bool init(Near& near, Far& far, const Space& owner) noexcept {
    if (!far.prepare()) return false;
    PERVMA_ASSERT(is_detached(far));
    near.init(owner);
    return true;
  }
  static void retire(Near&, Far& far) noexcept { PERVMA_ASSERT(is_detached(far)); }

  static Attempt begin_read(Near& near, Far& far, const Space& space) noexcept {
    if (near.is_current(space)) return {ReadTry::contended, {}};  // For speed only.
    const Entry entry = far.word().try_enter();
    if (entry != Entry::entered) return {refusal(entry), {}};
    P::hook(Hook::read_after_increment);
    if (P::keep(Site::word_reader_compares_owner) && near.owner != &space) {
      far.word().leave();
      return {ReadTry::detached, {}};
    }
    if (P::keep(Site::word_reader_compares_seq) && near.is_current_acquire(space)) {
      far.word().leave();
      return {ReadTry::contended, {}};
    }
    P::Tracker::acquired(P::Tracker::Kind::vma_read, &far);
    return {ReadTry::locked, {}};
  }
  static Attempt start_read_locked(Near& near, Far& far, const Space& space) noexcept {
    space.assert_held();
    PERVMA_DASSERT(near.owner == &space);
    const Entry entry = far.word().try_enter();
    if (entry != Entry::entered) return {refusal(entry), {}};
    P::Tracker::acquired(P::Tracker::Kind::vma_read, &far);
    return {ReadTry::locked, {}};
  }
  static bool still_valid(const Near&, const Space&, const Token&) noexcept { return true; }
  static void end_read(Far& far, const Token&) noexcept {
    P::Tracker::released(P::Tracker::Kind::vma_read, &far);
    far.word().leave();
  }

  [[nodiscard]] static bool lock_write(Near& near, Far& far, Space& space,
                                       const StopToken& stop = {}) noexcept {
    space.assert_held_write();
    PERVMA_DASSERT(near.owner == &space);
    if (near.is_current(space)) return true;
    if (P::keep(Site::word_writer_spares_detached) && is_detached(far)) {
      near.set(space);
      return true;
    }
    P::Tracker::about_to_drain_vma(&far);
    if (!far.word().exclude(stop)) return false;
    near.set(space);
    far.word().admit();
    return true;
  }
  static void attach(Near& near, Far& far, Space& space) noexcept {
    space.assert_held_write();
    PERVMA_ASSERT(is_write_locked(near, space));
    PERVMA_ASSERT(is_detached(far));
    far.word().open();
  }
  static void detach(Near& near, Far& far, Space& space) noexcept {
    space.assert_held_write();
    PERVMA_ASSERT(is_write_locked(near, space));
    PERVMA_ASSERT(!is_detached(far));
    P::Tracker::about_to_drain_vma(&far);
    far.word().close();
  }

  static bool is_write_locked(const Near& near, const Space& space) noexcept {
    return near.is_write_locked(space);
  }
  static bool is_detached(const Far& far) noexcept { return !far.word().is_open(); }
  static bool is_read_locked_or_more(const Near& near, const Far& far,
                                     const Space& space) noexcept {
    return near.is_write_locked(space) ||
           (reader_count(far) != 0 && P::Tracker::may_hold(P::Tracker::Kind::vma_read, &far));
  }
  static uint32_t reader_count(const Far& far) noexcept { return far.word().readers(); }
};

// The series as first posted: a semaphore inside the VMA, on the line that faults read.
template <class P>
struct BasicRwsemLock : BasicWordLock<P, BasicVmaRwsem<P>, OnFirstLine> {
  static constexpr std::string_view kName = "rwsem";
};
// Its patch 40: the semaphore in an object of its own.
template <class P>
struct BasicRwsemSplitLock : BasicWordLock<P, BasicVmaRwsem<P>, Apart> {
  static constexpr std::string_view kName = "rwsem_split";
};
// Its patch 41: a count and a place to wait instead of the semaphore.
template <class P>
struct BasicCountLock : BasicWordLock<P, BasicVmaCount<P>, OnSecondLine> {
  static constexpr std::string_view kName = "count";
};

}  // namespace pervma

// vma_lock_scalable.h: the design `refcount`, in which readers of a hot VMA write no cache line
// that other CPUs write.
//
// A VMA whose count line is contended gets an array of per-CPU slots, each a vm_refcnt of its own
// (slot_array.h). Readers on the count word and on slots may be inside at any time; a writer drains
// the count word first, and only then looks for slots and drains each.
//
//   promote  hot: null -> array, by a reader with a validated lock on the count word: the writer
//            that could miss the array waits for this very reader
//   demote   hot: array -> null, by a writer with everybody excluded; the slots stay closed
//   detach   each slot is closed, hot = null, and the count word is closed last
//
// A reader that finds its slot closed goes to the count word, which decides. It leaves by the slot
// it came in by, on whatever CPU it is then. Orders: tags [H], and [L] of vma_refcount.h for every
// word.
#pragma once

#include <cstdint>
#include <string_view>

#include "sync/slot_array.h"
#include "sync/vma_lock.h"
#include "sync/vma_mark.h"
#include "sync/vma_refcount.h"

namespace pervma {

// For the meaning of each function see vma_lock_refcount.h.
template <class P>
class BasicScalableLock {
 public:
  static constexpr std::string_view kName = "scalable";
  static constexpr ReadKind kReadKind = ReadKind::locked;
  static constexpr FarPlace kFarPlace = FarPlace::second_line;
  static constexpr bool kFreesByRcu = false;

  // Failed exchanges on the count word, since the last write, that make a VMA hot.
  static constexpr uint32_t kFailuresToPromote = P::kFailuresToPromote;

  using Count = BasicVmaRefcount<P>;
  using Slots = BasicSlotArray<P>;
  using Slot = typename Slots::Slot;
  using Space = BasicMmapLock<P>;
  using StopToken = typename P::StopToken;
  // The word that the read came in by: the count word, or a slot's.
  struct Token {
    typename Count::Word* word;
  };
  using Attempt = ReadAttempt<Token>;
  using Near = BasicVmaMark<P>;
  // On a line that nobody writes while the VMA is hot.
  struct Far {
    typename P::template Atomic<uint32_t> vm_refcnt{0};
    typename P::template Atomic<uint32_t> failures{0};  // Counted without an exchange, so roughly.
    typename P::template Atomic<Slots*> hot{nullptr};
  };

  static bool init(Near& near, Far& far, const Space& owner) noexcept {
    PERVMA_ASSERT(is_detached(far) && !is_hot(far));
    near.init(owner);
    return true;
  }
  static void retire(Near&, Far& far) noexcept {
    PERVMA_ASSERT_OP(far.vm_refcnt.load(std::memory_order_relaxed), ==, 0u);
    PERVMA_ASSERT(!is_hot(far));
  }

  // About 7 ns uncontended, hot or not.
  static Attempt begin_read(Near& near, Far& far, const Space& space) noexcept {
    if (near.is_current(space)) return {ReadTry::contended, {}};  // For speed only.
    Slots* const hot =
        far.hot.load(P::order(Site::hot_read, std::memory_order_acquire));  // [H1] with [H2]
    if (hot != nullptr) [[unlikely]]
      return begin_read_hot(near, far, space, *hot);
    uint32_t n = 1;
    P::hook(Hook::read_before_increment);
    if (!far.vm_refcnt.compare_exchange_weak(
            n, 2,
            P::order(Site::hot_enter_alone, std::memory_order_acquire),  // [H3] with [L1] and [L5]
            std::memory_order_relaxed)) [[unlikely]] {
      return begin_read_contended(near, far, space, n);
    }
    return validate(near, far, space, {&far.vm_refcnt});
  }
  static Attempt start_read_locked(Near& near, Far& far, const Space& space) noexcept {
    space.assert_held();
    PERVMA_DASSERT(near.owner == &space);
    const Entry entry = Count::try_enter_kept(far.vm_refcnt);
    if (entry != Entry::entered) return {refusal(entry), {}};
    P::Tracker::acquired(P::Tracker::Kind::vma_read, &far);
    return {ReadTry::locked, {&far.vm_refcnt}};
  }
  static bool still_valid(const Near&, const Space&, const Token&) noexcept { return true; }
  static void end_read(Far& far, const Token& token) noexcept {
    P::Tracker::released(P::Tracker::Kind::vma_read, &far);
    Count::leave(*token.word);
  }

  [[nodiscard]] static bool lock_write(Near& near, Far& far, Space& space,
                                       const StopToken& stop = {}) noexcept;
  static void attach(Near& near, Far& far, Space& space) noexcept {
    space.assert_held_write();
    PERVMA_ASSERT(is_write_locked(near, space));
    PERVMA_ASSERT(is_detached(far) && !is_hot(far));
    Count::open(far.vm_refcnt);
  }
  static void detach(Near& near, Far& far, Space& space) noexcept;

  static bool is_write_locked(const Near& near, const Space& space) noexcept {
    return near.is_write_locked(space);
  }
  static bool is_detached(const Far& far) noexcept { return !Count::is_open(far.vm_refcnt); }
  static bool is_read_locked_or_more(const Near& near, const Far& far,
                                     const Space& space) noexcept {
    return near.is_write_locked(space) ||
           (reader_count(far) != 0 && P::Tracker::may_hold(P::Tracker::Kind::vma_read, &far));
  }
  // Inside an RCU read section, or with the VMA kept.
  static uint32_t reader_count(const Far& far) noexcept {
    uint32_t n = Count::readers(far.vm_refcnt);
    if (Slots* const hot = far.hot.load(
            P::order(Site::hot_count, std::memory_order_acquire))) {  // [H4] pairs with [H2]
      for (const Slot& slot : hot->slots()) n += Count::readers(slot.count);
    }
    return n;
  }
  static bool is_hot(const Far& far) noexcept {
    return far.hot.load(std::memory_order_relaxed) != nullptr;
  }

 private:
  // Out of line, and the way of a VMA that was never hot is as short as `refcount`'s.
  [[gnu::noinline]] static Attempt begin_read_hot(Near& near, Far& far, const Space& space,
                                                  Slots& hot) noexcept;
  [[gnu::noinline]] static Attempt begin_read_contended(Near& near, Far& far, const Space& space,
                                                        uint32_t seen) noexcept;
  static void promote(Far& far) noexcept;
  static bool exclude_slots(Slots& hot, const StopToken& stop) noexcept;

  // Counted in: but is it the VMA we looked up, and is it free?
  [[gnu::always_inline]] static Attempt validate(Near& near, Far& far, const Space& space,
                                                 Token token) noexcept {
    P::hook(Hook::read_after_increment);
    if (P::keep(Site::hot_reader_compares_owner) && near.owner != &space) {
      Count::leave(*token.word);
      return {ReadTry::detached, {}};
    }
    if (P::keep(Site::hot_reader_compares_seq) && near.is_current_acquire(space)) {
      Count::leave(*token.word);
      return {ReadTry::contended, {}};
    }
    P::Tracker::acquired(P::Tracker::Kind::vma_read, &far);
    return {ReadTry::locked, token};
  }
};

template <class P>
typename BasicScalableLock<P>::Attempt BasicScalableLock<P>::begin_read_hot(Near& near, Far& far,
                                                                            const Space& space,
                                                                            Slots& hot) noexcept {
  Slot& slot = hot.mine();
  P::hook(Hook::hot_before_increment);
  if (Count::try_enter(slot.count) == Entry::entered) {
    slot.uses.store(slot.uses.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return validate(near, far, space, {&slot.count});
  }
  // A writer is inside, or the VMA is not hot any more, or not there.
  const Entry entry = Count::try_enter(far.vm_refcnt);
  if (entry != Entry::entered) return {refusal(entry), {}};
  return validate(near, far, space, {&far.vm_refcnt});
}

template <class P>
typename BasicScalableLock<P>::Attempt BasicScalableLock<P>::begin_read_contended(
    Near& near, Far& far, const Space& space, uint32_t seen) noexcept {
  const uint32_t failures = far.failures.load(std::memory_order_relaxed) + 1;
  far.failures.store(failures, std::memory_order_relaxed);
  const Entry entry = Count::try_enter(far.vm_refcnt, seen);
  if (entry != Entry::entered) return {refusal(entry), {}};
  const Attempt attempt = validate(near, far, space, {&far.vm_refcnt});
  const bool inside = !P::keep(Site::hot_promoter_is_inside) || attempt.outcome == ReadTry::locked;
  if (failures >= kFailuresToPromote && inside) promote(far);
  return attempt;
}

// The caller holds the count word with a validated read lock.
template <class P>
void BasicScalableLock<P>::promote(Far& far) noexcept {
  far.failures.store(0, std::memory_order_relaxed);
  if (is_hot(far)) return;
  Slots* const array = Slots::create();
  if (array == nullptr) return;  // It goes on as it is.
  P::hook(Hook::hot_before_publish);
  Slots* expected = nullptr;
  if (!far.hot.compare_exchange_strong(
          expected, array,
          P::order(Site::hot_publish, std::memory_order_release),  // [H2] with [H1] and [H4]
          std::memory_order_relaxed)) {
    array->destroy();
  }
}

// False: stopped, and every slot is as before.
template <class P>
bool BasicScalableLock<P>::exclude_slots(Slots& hot, const StopToken& stop) noexcept {
  for (Slot& slot : hot.slots()) {
    if (Count::exclude(slot.count, stop)) continue;
    for (Slot& done : hot.slots()) {
      if (&done == &slot || !P::keep(Site::hot_abort_restores_slots)) break;
      Count::admit(done.count);
    }
    return false;
  }
  return true;
}

template <class P>
bool BasicScalableLock<P>::lock_write(Near& near, Far& far, Space& space,
                                      const StopToken& stop) noexcept {
  space.assert_held_write();
  PERVMA_DASSERT(near.owner == &space);
  if (near.is_current(space)) return true;
  if (P::keep(Site::hot_writer_spares_detached) && is_detached(far)) {
    near.set(space);
    return true;
  }
  P::Tracker::about_to_drain_vma(&far);
  const bool late = P::keep(Site::hot_writer_looks_after_drain);
  Slots* hot = late ? nullptr : far.hot.load(std::memory_order_relaxed);
  if (!Count::exclude(far.vm_refcnt, stop)) return false;
  P::hook(Hook::hot_after_count_drained);
  // Whoever promoted held the count word then and has left it: relaxed sees the array.
  if (late) hot = far.hot.load(std::memory_order_relaxed);
  if (P::keep(Site::hot_writer_drains_slots) && hot != nullptr && !exclude_slots(*hot, stop)) {
    if (P::keep(Site::hot_abort_restores)) Count::admit(far.vm_refcnt);
    return false;
  }
  near.set(space);
  far.failures.store(0, std::memory_order_relaxed);
  const bool stays = hot != nullptr && hot->earns_its_keep();
  if (hot != nullptr && !stays) far.hot.store(nullptr, std::memory_order_relaxed);
  if (stays || (hot != nullptr && !P::keep(Site::hot_demoted_stay_closed))) {
    for (Slot& slot : hot->slots()) Count::admit(slot.count);
  }
  Count::admit(far.vm_refcnt);
  if (hot != nullptr && !stays) hot->retire();
  return true;
}

template <class P>
void BasicScalableLock<P>::detach(Near& near, Far& far, Space& space) noexcept {
  space.assert_held_write();
  PERVMA_ASSERT(is_write_locked(near, space));
  P::Tracker::about_to_drain_vma(&far);
  // Nobody can promote: that takes a validated lock, and the VMA is marked.
  Slots* const hot = far.hot.load(std::memory_order_relaxed);
  if (hot != nullptr && P::keep(Site::hot_detach_closes_slots)) {
    for (Slot& slot : hot->slots()) Count::close(slot.count);
  }
  far.hot.store(nullptr, std::memory_order_relaxed);
  far.failures.store(0, std::memory_order_relaxed);
  Count::close(far.vm_refcnt);
  if (hot != nullptr) hot->retire();
}

}  // namespace pervma

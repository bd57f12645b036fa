// vma_lock_speculative.h: the design without locks in VMAs: a reader notes the space's write
// sequence, copies what it needs, works, and asks before it commits whether the sequence still
// stands (SPF, the design that per-VMA locks replaced).
//
// So `locked` keeps nothing here: it gives a token, and still_valid() tells whether everything
// copied since begin_read() was in one piece and of this space. Whoever commits asks under a lock
// that writers take after they have moved the sequence (the page table's): then either the writer
// finds what was committed, or the reader finds the sequence moved. Every write to the space, of
// any VMA, makes the reader start over under the mmap lock.
//
// A VMA's memory may be reused at once: attached and owner are part of what is validated. Orders:
// tags [U].
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "sync/vma_lock.h"

namespace pervma {

template <class P>
class BasicSpeculativeDesign {
 public:
  static constexpr std::string_view kName = "speculative";
  static constexpr ReadKind kReadKind = ReadKind::validated;
  static constexpr FarPlace kFarPlace = FarPlace::second_line;
  static constexpr bool kFreesByRcu = false;

  using Space = BasicMmapLock<P>;
  using StopToken = typename P::StopToken;
  struct Token {
    uint64_t seq;
  };
  using Attempt = ReadAttempt<Token>;

  struct Near {
    // As under every design, for assertions and for a second write lock in the same hold.
    typename P::template Atomic<uint64_t> vm_lock_seq{0};
    // Copied by readers without a lock.
    typename P::template Atomic<const Space*> owner{nullptr};

    [[nodiscard]] bool is_of(const Space& space) const noexcept {
      return owner.load(std::memory_order_relaxed) == &space;
    }
  };
  struct Far {
    typename P::template Atomic<uint32_t> attached{0};  // As owner.
  };

  static bool init(Near& near, Far& far, const Space& owner) noexcept {
    PERVMA_ASSERT(is_detached(far));
    near.vm_lock_seq.store(0, std::memory_order_relaxed);
    near.owner.store(&owner, std::memory_order_relaxed);  // Ordered by [U2].
    return true;
  }
  static void retire(Near&, Far& far) noexcept { PERVMA_ASSERT(is_detached(far)); }

  // Writes nothing. Wait-free, about 1 ns.
  static Attempt begin_read(Near& near, Far& far, const Space& space) noexcept {
    const std::optional<uint64_t> seq = space.speculate_try_begin();
    if (!seq) return {ReadTry::contended, {}};
    // Before the owner, and acquire: the memory may live again in a space whose holds do not move
    // this sequence, and then its attach says so.
    const uint32_t attached = far.attached.load(
        P::order(Site::spec_attached, std::memory_order_acquire));  // [U1] pairs with [U2]
    if (P::keep(Site::spec_reader_looks_at_attached) && attached == 0) {
      return {ReadTry::detached, {}};
    }
    if (P::keep(Site::spec_reader_compares_owner) && !near.is_of(space)) {
      return {ReadTry::detached, {}};
    }
    return {ReadTry::locked, {*seq}};
  }
  static Attempt start_read_locked(Near&, Far&, const Space&) noexcept {
    return {ReadTry::contended, {}};
  }
  // False: forget what was copied.
  static bool still_valid(const Near&, const Space& space, const Token& token) noexcept {
    return !space.speculate_retry(token.seq);
  }
  static void end_read(Far&, const Token&) noexcept {}

  [[nodiscard]] static bool lock_write(Near& near, Far&, Space& space,
                                       const StopToken& = {}) noexcept {
    space.assert_held_write();
    near.vm_lock_seq.store(space.seq_relaxed(), std::memory_order_relaxed);
    return true;
  }
  static void attach(Near& near, Far& far, Space& space) noexcept {
    PERVMA_ASSERT(is_write_locked(near, space));
    PERVMA_ASSERT(is_detached(far));
    far.attached.store(
        1, P::order(Site::spec_attach, std::memory_order_release));  // [U2] pairs with [U1]
  }
  static void detach(Near& near, Far& far, Space& space) noexcept {
    PERVMA_ASSERT(is_write_locked(near, space));
    PERVMA_ASSERT(!is_detached(far));
    far.attached.store(0, std::memory_order_relaxed);
  }

  static bool is_write_locked(const Near& near, const Space& space) noexcept {
    return near.vm_lock_seq.load(std::memory_order_relaxed) == space.seq_relaxed() &&
           space.is_held_for_write();
  }
  static bool is_detached(const Far& far) noexcept {
    return far.attached.load(std::memory_order_relaxed) == 0;
  }
  // Nobody read-locks a VMA of this design: the question is answered by the mmap lock.
  static bool is_read_locked_or_more(const Near& near, const Far&, const Space& space) noexcept {
    return is_write_locked(near, space);
  }
  static uint32_t reader_count(const Far&) noexcept { return 0; }
};

}  // namespace pervma

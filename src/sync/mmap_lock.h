// mmap_lock.h: the reader/writer lock of an address space, with its write sequence.
//
//   state_ bits    meaning
//   0 .. 21        number of threads that hold it for read: as many as Linux lets there be
//   22  kWriter    held for write; no readers
//   23  kQueued    somebody waits: newcomers go to the queue's end, nobody overtakes
//   24 .. 63       how often it was taken for read, modulo 2^40; rides in the same exchange
//
// Fair: who does not get the lock at once competes for it for a moment (spin.h; a writer that finds
// readers inside does not, since readers overlap), then stands in the queue, and from then on
// nobody overtakes it. A release hands the lock to the queue's head: a writer alone, or, when the
// head is a reader, every reader in the queue. So in the queue a writer waits for the holders and
// those ahead of it, and a reader for the writers ahead of it. Without the competition the lock
// would be handed to threads that are not running, one context switch for each hold, for as long as
// there is traffic.
//
// seq_ is even while nobody holds the lock for write and odd while somebody does. It is what the
// VMA locks compare with: ending the write hold (unlock or downgrade) ends all VMA write locks at
// once. 64 bits never wrap; with fewer, an old mark would match again.
//
// Lock order: this lock before everything else; several only parent before child (fork). Never wait
// for it holding a VMA read lock, nor inside an RCU read section.
#pragma once

#include <cstdint>
#include <optional>

#include "sync/annotations.h"
#include "sync/assert.h"
#include "sync/cpu.h"
#include "sync/platform.h"

namespace pervma {

struct MmapLockStats {
  uint64_t read = 0;     // taken for read: successful tries and downgrades included
  uint64_t write = 0;    // taken for write
  uint64_t wait_ns = 0;  // time between wanting it and having it, where that was not at once
  uint64_t sleeps = 0;   // how often a waiter slept
};

template <class P>
class PERVMA_CAPABILITY("mmap_lock") BasicMmapLock {
 public:
  using Platform = P;
  using StopToken = typename P::StopToken;

  BasicMmapLock() noexcept = default;
  ~BasicMmapLock();  // Asserts that nobody holds it or waits.
  BasicMmapLock(const BasicMmapLock&) = delete;
  BasicMmapLock& operator=(const BasicMmapLock&) = delete;

  // Waits for writers in front. About 15 ns uncontended.
  void lock_read() noexcept PERVMA_ACQUIRE_SHARED();
  // The same, but a stop ends the wait: false, and nothing is held. A token that was stopped before
  // the call gives false even when the lock is free.
  [[nodiscard]] bool lock_read(const StopToken& stop) noexcept PERVMA_TRY_ACQUIRE_SHARED(true);
  // Never waits; false also when somebody waits in front. Lock-free.
  [[nodiscard]] bool try_lock_read() noexcept PERVMA_TRY_ACQUIRE_SHARED(true);
  void unlock_read() noexcept PERVMA_RELEASE_SHARED();

  // Waits for everybody in front.
  void lock_write() noexcept PERVMA_ACQUIRE();
  [[nodiscard]] bool lock_write(const StopToken& stop) noexcept PERVMA_TRY_ACQUIRE(true);
  // Ends every VMA write lock of the space. Never waits.
  void unlock_write() noexcept PERVMA_RELEASE();

  // Write -> read with no writer in between; ends every VMA write lock. Never waits.
  void downgrade() noexcept PERVMA_RELEASE() PERVMA_ACQUIRE_SHARED();

  // The sequence. acquire: whoever sees a hold ended sees everything written under it.
  uint64_t seq_acquire() const noexcept {
    return seq_.load(
        P::order(Site::seq_compare, std::memory_order_acquire));  // [S3] pairs with [S1] and [S2]
  }
  uint64_t seq_relaxed() const noexcept { return seq_.load(std::memory_order_relaxed); }

  // Optimistic reading without the lock: begin (nothing while a writer is in), copy what is needed
  // from relaxed atomics, then use it only when retry() says false. Wait-free.
  [[nodiscard]] std::optional<uint64_t> speculate_try_begin() const noexcept {
    const uint64_t seq = seq_.load(
        P::order(Site::seq_speculate, std::memory_order_acquire));  // [S4] pairs with [S2]
    if (P::keep(Site::seq_speculate_refuses_odd) && (seq & 1) != 0) return std::nullopt;
    return seq;
  }
  [[nodiscard]] bool speculate_retry(uint64_t seq) const noexcept {
    P::fence(P::order(Site::seq_retry_fence, std::memory_order_acquire));  // [S6] pairs with [S5]
    return P::keep(Site::seq_retry_compares) && seq_.load(std::memory_order_relaxed) != seq;
  }

  // Exact in debug builds (this thread holds it); in release they check that somebody does.
  void assert_held() const noexcept PERVMA_ASSERT_SHARED_CAPABILITY(this);
  void assert_held_write() const noexcept PERVMA_ASSERT_CAPABILITY(this);
  [[nodiscard]] bool is_held_for_write() const noexcept { return (seq_relaxed() & 1) != 0; }

  [[nodiscard]] MmapLockStats stats() const noexcept;

 private:
  template <class T>
  using Atomic = typename P::template Atomic<T>;
  template <class T>
  using Plain = typename P::template Plain<T>;
  template <class T>
  using Counter = typename P::template Counter<T>;

  static constexpr uint64_t kReader = 1;
  static constexpr uint64_t kWriter = uint64_t{1} << 22;
  static constexpr uint64_t kQueued = uint64_t{1} << 23;
  static constexpr uint64_t kTaken = uint64_t{1} << 24;
  static constexpr uint64_t kReaders = kWriter - 1;
  static constexpr uint64_t kHeld = kWriter | kReaders;
  static constexpr uint64_t kFirstSeq = 2;  // Even, and not the mark of a new VMA.

  // What stands in the way of a newcomer who must not overtake; of a reader; of a writer.
  static uint64_t queued() noexcept { return P::keep(Site::mmap_no_overtaking) ? kQueued : 0; }
  static uint64_t writer() noexcept { return P::keep(Site::mmap_read_sees_writer) ? kWriter : 0; }
  static uint64_t held() noexcept { return P::keep(Site::mmap_write_sees_holders) ? kHeld : 0; }
  static uint64_t next_seq(uint64_t seq) noexcept {
    return P::keep(Site::seq_never_wraps) ? seq + 1 : (seq + 1) & 0xff;
  }

  enum class Want : uint8_t { read, write };
  enum class Wait : uint8_t { granted, stopped };
  struct Waiter;

  bool try_take_read() noexcept;
  bool try_take_write() noexcept;
  bool compete(Want want, const StopToken& stop) noexcept;
  Wait wait_for(Want want, const StopToken& stop) noexcept;
  bool take_or_enqueue(Waiter& waiter) noexcept;
  Wait wait_in_queue(Waiter& waiter, const StopToken& stop) noexcept;
  Wait cancel(Waiter& waiter) noexcept;
  void grant() noexcept;
  void grant_locked() noexcept;
  void signal(Waiter& waiter) noexcept;
  void unlink(Waiter& waiter) noexcept;
  void lock_queue() noexcept;
  void unlock_queue() noexcept;
  void seq_begin() noexcept;
  void seq_end() noexcept;

  // Read by every fault, written by writers only: a line of its own.
  alignas(kCacheLine) Atomic<uint64_t> seq_{kFirstSeq};

  // Written by whoever takes the lock.
  alignas(kCacheLine) Atomic<uint64_t> state_{0};
  Atomic<uint32_t> queue_lock_{0};  // 1 = held; for a few instructions only.
  Plain<Waiter*> head_{nullptr};    // The queue; under queue_lock_.
  Plain<Waiter*> tail_{nullptr};
  Counter<uint64_t> writes_{0};  // Written by the holder only.
  Counter<uint64_t> wait_ns_{0};
  Counter<uint64_t> sleeps_{0};
};

using MmapLock = BasicMmapLock<NativePlatform>;

template <class P>
inline bool BasicMmapLock<P>::try_take_read() noexcept {
  uint64_t s = state_.load(std::memory_order_relaxed);
  while ((s & (writer() | queued())) == 0) {
    PERVMA_DASSERT((s & kReaders) != kReaders);
    if (state_.compare_exchange_weak(
            s, s + kReader + kTaken,
            P::order(Site::mmap_read, std::memory_order_acquire),  // [M1] pairs with [M4] and [M5]
            std::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

template <class P>
inline bool BasicMmapLock<P>::try_lock_read() noexcept PERVMA_NO_ANALYSIS {
  if (!try_take_read()) return false;
  P::Tracker::acquired(P::Tracker::Kind::mmap_read, this);
  return true;
}

}  // namespace pervma

#include "sync/mmap_guard.h"

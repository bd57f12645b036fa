// rcu_retire.h: frees objects once no RCU reader can look at them any more, in batches.
//
// An object handed to retire() is passed to the free function after a grace period, on liburcu's
// callback thread. A batch has memory of its own, so nothing of a retired object is overwritten
// while readers may still be in it. One owner at a time: every member but pending() is externally
// synchronised (by the mmap write lock, where a tree is the owner).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sync/rcu.h"

namespace pervma {

class RcuRetire {
 public:
  // Called once per object; may run on another thread, at any time until the destructor returns.
  using Free = void (*)(void* context, void* object);

  static constexpr size_t kBatch = 123;                   // A batch is 1,024 bytes.
  static constexpr size_t kMaxPending = size_t{1} << 16;  // Above it retire() waits for readers.

  // Asked before each allocation; a test makes one fail by answering false.
  using MayAllocate = bool (*)(void* context);

  RcuRetire(Free free_object, void* context, MayAllocate may_allocate = nullptr) noexcept
      : free_(free_object), context_(context), may_allocate_(may_allocate) {}
  // Frees everything, waiting for readers where something is pending. Not inside a read section.
  ~RcuRetire();
  RcuRetire(const RcuRetire&) = delete;
  RcuRetire& operator=(const RcuRetire&) = delete;

  // Makes the next n retire() calls before the next flush() infallible and free of allocation.
  // False: out of memory, and what could be reserved is kept.
  [[nodiscard]] bool reserve(size_t n) noexcept;

  // Frees `object` after a grace period. Without a reservation it may have to allocate, and when
  // that fails waits for the grace period on the spot (then: not inside a read section). Waits,
  // too, when kMaxPending objects are behind and this thread is not in a read section: a writer
  // faster than the callback thread would otherwise fill the memory.
  void retire(void* object) noexcept;

  // Starts the grace period of what was retired so far; else a batch waits until it is full.
  void flush() noexcept;

  // Objects retired and not yet freed. Any thread; exact for the owner once callbacks are done.
  [[nodiscard]] size_t pending() const noexcept;

 private:
  struct Batch;
  static void run(rcu_head* head);
  Batch* take_empty_batch() noexcept;
  void hand_over() noexcept;
  void free_all(Batch* batch) noexcept;

  const Free free_;
  void* const context_;
  const MayAllocate may_allocate_;
  Batch* open_ = nullptr;   // The batch being filled, or none.
  Batch* spare_ = nullptr;  // Reserved empty batches, linked.
  size_t spares_ = 0;
  size_t handed_over_ = 0;          // Objects ever given to a callback.
  std::atomic<size_t> retired_{0};  // Objects ever retired; written by the owner only.
  std::atomic<size_t> freed_{0};    // Objects ever freed; a callback's last look at this object.
};

}  // namespace pervma

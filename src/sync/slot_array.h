// slot_array.h: the per-CPU words of one hot VMA: each a vm_refcnt (vma_refcount.h) on a line of
// its own.
//
// An array belongs to one VMA for its whole life: published once, closed for good when that VMA is
// demoted or detached (its words then stay at values that let nobody in), and freed after an RCU
// grace period. So a reader who finds a word open knows that the array is still its VMA's, and no
// owner need be compared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>

#include "sync/cpu.h"
#include "sync/platform.h"

namespace pervma {

template <class P>
class alignas(kCacheLine) BasicSlotArray {
 public:
  struct alignas(kCacheLine) Slot {
    typename P::template Atomic<uint32_t> count{1};
    // How often readers came in since the last write; counted without an exchange, so roughly.
    typename P::template Atomic<uint32_t> uses{0};
  };

  // A writer who finds fewer uses than this since the write before demotes the VMA: it is cool, or
  // written about as often as it is read.
  static constexpr uint32_t kUsesToStay = P::kUsesToStay;

  // Open to readers. Null: no memory.
  static BasicSlotArray* create() noexcept {
    const uint32_t slots = P::cpu_slots();
    void* const memory = P::allocate(sizeof(BasicSlotArray) + slots * sizeof(Slot), kCacheLine);
    if (memory == nullptr) return nullptr;
    auto* const array = ::new (memory) BasicSlotArray(slots);
    for (uint32_t i = 0; i < slots; ++i) ::new (&array->first()[i]) Slot;
    return array;
  }
  // For an array that nobody else has seen.
  void destroy() noexcept {
    for (Slot& slot : slots()) slot.~Slot();
    this->~BasicSlotArray();
    P::deallocate(this);
  }
  // Frees it once no reader can look at it any more.
  void retire() noexcept {
    P::call_rcu(&head_, [](typename P::RcuHead* head) {
      static_assert(offsetof(BasicSlotArray, head_) == 0);
      P::rcu_callback_begins(head);
      reinterpret_cast<BasicSlotArray*>(head)->destroy();
      P::rcu_callback_ends();
    });
  }

  // The slot of the CPU that this thread is on.
  Slot& mine() noexcept { return first()[P::current_cpu() & (size_ - 1)]; }
  std::span<Slot> slots() noexcept { return {first(), size_}; }

  // For the writer, with everybody excluded: whether it is used enough; begins to count anew.
  [[nodiscard]] bool earns_its_keep() noexcept {
    uint64_t uses = 0;
    for (Slot& slot : slots()) {
      uses += slot.uses.load(std::memory_order_relaxed);
      slot.uses.store(0, std::memory_order_relaxed);
    }
    return uses >= kUsesToStay;
  }

  static size_t bytes() noexcept { return sizeof(BasicSlotArray) + P::cpu_slots() * sizeof(Slot); }

 private:
  explicit BasicSlotArray(uint32_t size) noexcept : size_(size) {}
  Slot* first() noexcept { return reinterpret_cast<Slot*>(this + 1); }

  typename P::RcuHead head_{};
  const uint32_t size_;  // A power of two.
};

}  // namespace pervma

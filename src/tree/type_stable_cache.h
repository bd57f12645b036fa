// type_stable_cache.h: memory for objects that stale RCU readers may still look at after their
// free.
//
// An object is constructed once per slab lifetime and is a T from then on, free or not: free()
// makes it reusable at once, without a grace period, and whoever holds a stale pointer inside an
// RCU read section finds some T there, alive, free or reused, and tells by T's own atomics which.
// So a free object keeps its contents but for one pointer, T::free_link, which overlays what no
// reader looks at in a free T. alloc() hands a T out as its last owner left it. Empty slabs go back
// to the system after a grace period.
//
// So who frees an object has first taken it out of wherever a new reader could find it: a grace
// period that begins at the free does not wait for one who finds it later. An owner who must free
// before that calls hold_slabs() first.
//
// T is default-constructible without throwing and has a member `void* free_link`, or, where readers
// look at every word of a free T too, member functions `free_next()` and `set_free_next(void*)` on
// one of its atomics. Every member may be called from any thread.
//
// While the cache is small, at most kSpread bytes of it, objects lie so that no two share a line,
// nor a pair of lines; the rest lies packed.
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

#include "sync/rcu.h"
#include "tree/allocation_hook.h"
#include "tree/slab_lock.h"
#include "tree/slab_store.h"

namespace pervma {

struct CacheStats {
  size_t live;   // objects handed out
  size_t slabs;  // without those that wait for a grace period
  size_t bytes;  // of these slabs
};

template <class T, size_t kSpread = 0>
class TypeStableCache {
 public:
  TypeStableCache() noexcept = default;
  explicit TypeStableCache(AllocationHook hook) noexcept : hook_(hook) {}
  TypeStableCache(const TypeStableCache&) = delete;
  TypeStableCache& operator=(const TypeStableCache&) = delete;

  // Every object must be free. Waits for RCU readers: not inside a read section.
  ~TypeStableCache() {
    PERVMA_ASSERT_OP(stats().live, ==, size_t{0});
    if (!used_) return;
    rcu_synchronize();
    {
      const SlabLockGuard guard(lock_);
      while (SlabHead* slab = store_.take_empty_slab()) store_.give_back(slab);
    }
    // Slabs on their way back come to this store.
    rcu_barrier();
  }

  // A T in whatever state its last owner left it, or null: out of memory. About 20 ns uncontended.
  [[nodiscard]] T* alloc() noexcept {
    const SlabLockGuard guard(lock_);
    if (hook_.says_fail()) return nullptr;
    void* cell = store_.take();
    if (cell == nullptr) [[unlikely]] {
      if (!store_.add_slab(this)) return nullptr;
      used_ = true;
      cell = store_.take();
    }
    return static_cast<T*>(cell);
  }

  // Reusable at once. No owner may look at it any more; stale readers may. About 20 ns uncontended.
  void free(T* object) noexcept {
    SlabHead* idle = nullptr;
    {
      const SlabLockGuard guard(lock_);
      idle = store_.put(object);
      if (idle != nullptr && holds_) [[unlikely]] {
        idle->next = std::exchange(held_, idle);
        return;
      }
    }
    if (idle != nullptr) [[unlikely]]
      give_back_later(idle);
  }

  // Until let_slabs_go() no slab begins its way back to the system, whoever frees: what is freed
  // may still be found by new readers. By one thread at a time.
  void hold_slabs() noexcept {
    const SlabLockGuard guard(lock_);
    PERVMA_DASSERT(!holds_);
    holds_ = true;
  }
  // Nobody finds what was freed any more.
  void let_slabs_go() noexcept {
    SlabHead* slab = nullptr;
    {
      const SlabLockGuard guard(lock_);
      holds_ = false;
      slab = std::exchange(held_, nullptr);
    }
    while (slab != nullptr) give_back_later(std::exchange(slab, slab->next));
  }

  // Moves what has grown to 2 MiB to huge pages: a millisecond, rarely. Best under no lock.
  void use_huge_pages() noexcept PERVMA_NO_ANALYSIS { store_.use_huge_pages(); }

  void set_allocation_hook(AllocationHook hook) noexcept {
    const SlabLockGuard guard(lock_);
    hook_ = hook;
  }

  [[nodiscard]] CacheStats stats() const noexcept {
    const SlabLockGuard guard(lock_);
    return {store_.live(), store_.slabs(), store_.bytes()};
  }

 private:
  struct Cell {
    static constexpr size_t kBytes = sizeof(T);
    static constexpr size_t kAlign = alignof(T);
    static constexpr size_t kSpreadBytes = kSpread;
    static constexpr size_t kSpareBytes = size_t{256} << 10;
    static_assert(std::is_nothrow_default_constructible_v<T>);

    static void construct(void* cell) noexcept { ::new (cell) T(); }
    static void destroy(void* cell) noexcept { static_cast<T*>(cell)->~T(); }
    static void* next(void* cell) noexcept {
      T& object = *static_cast<T*>(cell);
      if constexpr (requires { object.free_next(); }) {
        return object.free_next();
      } else {
        return object.free_link;
      }
    }
    static void set_next(void* cell, void* next) noexcept {
      T& object = *static_cast<T*>(cell);
      if constexpr (requires { object.set_free_next(next); }) {
        object.set_free_next(next);
      } else {
        object.free_link = next;
      }
    }
  };
  using Store = SlabStore<Cell>;

  static void give_back_later(SlabHead* slab) noexcept {
    call_rcu(&slab->rcu, [](rcu_head* head) {
      rcu_callback_begins(head);
      auto* const idle =
          reinterpret_cast<SlabHead*>(reinterpret_cast<char*>(head) - offsetof(SlabHead, rcu));
      auto& cache = *static_cast<TypeStableCache*>(idle->owner);
      {
        const SlabLockGuard guard(cache.lock_);
        cache.store_.give_back(idle);
      }
      rcu_callback_ends();
    });
  }

  mutable SlabLock lock_;
  Store store_ PERVMA_GUARDED_BY(lock_);
  AllocationHook hook_ PERVMA_GUARDED_BY(lock_);
  SlabHead* held_ PERVMA_GUARDED_BY(lock_) = nullptr;  // empty slabs, linked by next
  bool holds_ PERVMA_GUARDED_BY(lock_) = false;
  bool used_ = false;  // a slab was ever made; written under lock_
};

}  // namespace pervma

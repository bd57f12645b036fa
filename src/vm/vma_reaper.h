// vma_reaper.h: how the VMAs of the first designs go back to their cache: after an RCU grace
// period, one call each or in batches, as Linux did before its VMAs were type-stable. (At once
// costs nothing of all this.)
#pragma once

#include <mutex>
#include <utility>

#include "pervma/design.h"
#include "sync/rcu.h"
#include "tree/type_stable_cache.h"

namespace pervma {

template <class V>
class VmaReaper;

// What a VMA needs for it, in its own memory. First and alone in its layout: a callback gets its
// address back.
template <class V>
class VmaGrave {
  friend class VmaReaper<V>;
  rcu_head rcu_{};
  V* first_ = nullptr;  // of the VMAs that go with this one, linked by next_detached
  TypeStableCache<V>* cache_ = nullptr;
};

template <class V>
class VmaReaper {
 public:
  static constexpr unsigned kBatch = 32;

  VmaReaper(TypeStableCache<V>& cache, VmaFree how) noexcept : cache_(cache), how_(how) {}

  // Any thread. The VMA is detached and nobody can reach it anew.
  void free(V& v) noexcept {
    if (how_ == VmaFree::at_once) {
      cache_.free(&v);
    } else if (how_ == VmaFree::rcu) {
      v.next_detached = nullptr;
      hand_over(v);
    } else {
      V* full = nullptr;
      {
        const std::scoped_lock lock(mutex_);
        v.next_detached = batch_;
        batch_ = &v;
        if (++size_ == kBatch) full = take();
      }
      if (full != nullptr) hand_over(*full);
    }
  }
  // Starts the grace period of a batch that is not full.
  void flush() noexcept {
    V* rest = nullptr;
    {
      const std::scoped_lock lock(mutex_);
      rest = take();
    }
    if (rest != nullptr) hand_over(*rest);
  }

 private:
  V* take() noexcept {
    size_ = 0;
    return std::exchange(batch_, nullptr);
  }
  void hand_over(V& first) noexcept {
    first.grave.first_ = &first;
    first.grave.cache_ = &cache_;
    call_rcu(&first.grave.rcu_, &after_grace_period);
  }
  static void after_grace_period(rcu_head* head) {
    rcu_callback_begins(head);
    auto* const grave = reinterpret_cast<VmaGrave<V>*>(head);
    TypeStableCache<V>& cache = *grave->cache_;
    for (V *v = grave->first_, *next; v != nullptr; v = next) {
      next = v->next_detached;
      v->next_detached = nullptr;
      cache.free(v);
    }
    rcu_callback_ends();
  }

  TypeStableCache<V>& cache_;
  const VmaFree how_;
  std::mutex mutex_;  // a leaf lock: two munmaps give back at once
  V* batch_ = nullptr;
  unsigned size_ = 0;
};

// For designs whose VMAs are always reusable at once.
template <class V>
class NoVmaReaper {
 public:
  NoVmaReaper(TypeStableCache<V>& cache, VmaFree) noexcept : cache_(cache) {}
  void free(V& v) noexcept { cache_.free(&v); }
  void flush() noexcept {}

 private:
  TypeStableCache<V>& cache_;
};

}  // namespace pervma

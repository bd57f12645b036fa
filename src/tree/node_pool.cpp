#include "tree/node_pool.h"

#include <chrono>

#include "sync/rcu.h"

#if defined(__SANITIZE_ADDRESS__)
#define PERVMA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PERVMA_ASAN 1
#endif
#endif

#if defined(PERVMA_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace pervma {

namespace {

// A free node's first word links it; the rest may be touched by nobody, and ASan is told so.
#if defined(PERVMA_ASAN)
void forbid(void* node, size_t bytes) noexcept {
  __asan_poison_memory_region(static_cast<char*>(node) + sizeof(void*), bytes - sizeof(void*));
}
void permit(void* node, size_t bytes) noexcept { __asan_unpoison_memory_region(node, bytes); }
#else
void forbid(void*, size_t) noexcept {}
void permit(void*, size_t) noexcept {}
#endif

}  // namespace

template <size_t kNodeBytes>
void BasicNodeChain<kNodeBytes>::push(void* node) noexcept {
  *static_cast<void**>(node) = head_;
  forbid(node, kNodeBytes);
  head_ = node;
  ++size_;
}

template <size_t kNodeBytes>
void* BasicNodeChain<kNodeBytes>::pop() noexcept {
  PERVMA_ASSERT(head_ != nullptr);  // A reservation was too small.
  void* node = head_;
  permit(node, kNodeBytes);
  head_ = *static_cast<void**>(node);
  --size_;
  // The next one has lain idle for a grace period, and is filled with the next store.
  if (head_ != nullptr) {
    const char* next = static_cast<const char*>(head_);
    for (size_t line = 0; line < kNodeBytes; line += 64) __builtin_prefetch(next + line, 1);
  }
  return node;
}

template class BasicNodeChain<kLeafBytes>;
template class BasicNodeChain<kInnerBytes>;

// The slab's pages go back to the system, and may come again as something else.
template <size_t kNodeBytes, size_t kSpare>
void NodePool::Cell<kNodeBytes, kSpare>::destroy(void* cell) noexcept {
  permit(cell, kNodeBytes);
}

NodePool::~NodePool() {
  // Relaxed: the trees' owners ended before this, so all that they began is seen.
  if (batches_.load(std::memory_order_relaxed) != 0) rcu_barrier();
  const SlabLockGuard guard(lock_);
  PERVMA_ASSERT_OP(leaves_.live() + inners_.live(), ==, size_t{0});
  while (SlabHead* slab = leaves_.take_empty_slab()) leaves_.give_back(slab);
  while (SlabHead* slab = inners_.take_empty_slab()) inners_.give_back(slab);
}

template <class Store, class Chain>
bool NodePool::take_from(Store& store, size_t n, Chain& into) noexcept {
  const size_t before = into.size();
  while (into.size() < before + n) {
    void* node = store.take();
    if (node == nullptr) [[unlikely]] {
      if (!hook_.says_fail() && store.add_slab(this)) continue;
      give_to(store, into, before);
      return false;
    }
    into.push(node);
  }
  return true;
}

template <class Store, class Chain>
void NodePool::give_to(Store& store, Chain& from, size_t keep) noexcept {
  while (from.size() > keep) {
    void* node = from.pop();
    if (SlabHead* idle = store.put(node); idle != nullptr) [[unlikely]] {
      store.give_back(idle);
    } else {
      forbid(node, Store::kCellBytes);
    }
  }
}

bool NodePool::take(NodeCount n, NodeStock& into) noexcept {
  if (n.sum() == 0) return true;
  const SlabLockGuard guard(lock_);
  if (hook_.says_fail()) return false;
  const size_t before = into.leaves.size();
  if (!take_from(leaves_, n.leaves, into.leaves)) return false;
  if (take_from(inners_, n.inners, into.inners)) return true;
  give_to(leaves_, into.leaves, before);
  return false;
}

void NodePool::give(NodeStock& from, NodeCount keep) noexcept {
  if (keep.covers(from.size())) return;
  const SlabLockGuard guard(lock_);
  give_to(leaves_, from.leaves, keep.leaves);
  give_to(inners_, from.inners, keep.inners);
}

bool NodePool::may_wait_for_readers() noexcept {
  if (rcu_is_reading()) return false;
  // Races between trees only make the next wait sooner or later.
  const uint32_t left = without_wait_.load(std::memory_order_relaxed);
  if (left == 0) return true;
  without_wait_.store(left - 1, std::memory_order_relaxed);
  return false;
}

void NodePool::wait_for_readers() noexcept {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::microseconds kLong{500};
  const Clock::time_point begin = Clock::now();
  rcu_synchronize();
  if (Clock::now() - begin > kLong) without_wait_.store(kWithoutWait, std::memory_order_relaxed);
}

void NodePool::set_allocation_hook(AllocationHook hook) noexcept {
  const SlabLockGuard guard(lock_);
  hook_ = hook;
}

NodePool::Stats NodePool::stats() const noexcept {
  const SlabLockGuard guard(lock_);
  return {leaves_.live() + inners_.live(), leaves_.slabs() + inners_.slabs(),
          leaves_.bytes() + inners_.bytes()};
}

}  // namespace pervma

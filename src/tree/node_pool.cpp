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
void forbid(void* node) noexcept {
  __asan_poison_memory_region(static_cast<char*>(node) + sizeof(void*),
                              kMapleNodeBytes - sizeof(void*));
}
void permit(void* node) noexcept { __asan_unpoison_memory_region(node, kMapleNodeBytes); }
#else
void forbid(void*) noexcept {}
void permit(void*) noexcept {}
#endif

}  // namespace

void NodeChain::push(void* node) noexcept {
  *static_cast<void**>(node) = head_;
  forbid(node);
  head_ = node;
  ++size_;
}

void* NodeChain::pop() noexcept {
  PERVMA_ASSERT(head_ != nullptr);  // A reservation was too small.
  void* node = head_;
  permit(node);
  head_ = *static_cast<void**>(node);
  --size_;
  // The next one has lain idle for a grace period, and is filled with the next store.
  if (head_ != nullptr) {
    const char* next = static_cast<const char*>(head_);
    for (size_t line = 0; line < kMapleNodeBytes; line += 64) __builtin_prefetch(next + line, 1);
  }
  return node;
}

// The slab's pages go back to the system, and may come again as something else.
void NodePool::Cell::destroy(void* cell) noexcept { permit(cell); }

NodePool::~NodePool() {
  // Relaxed: the trees' owners ended before this, so all that they began is seen.
  if (batches_.load(std::memory_order_relaxed) != 0) rcu_barrier();
  const SlabLockGuard guard(lock_);
  PERVMA_ASSERT_OP(store_.live(), ==, size_t{0});
  while (SlabHead* slab = store_.take_empty_slab()) store_.give_back(slab);
}

void* NodePool::take_one() noexcept {
  if (void* node = store_.take(); node != nullptr) [[likely]]
    return node;
  return !hook_.says_fail() && store_.add_slab(this) ? store_.take() : nullptr;
}

bool NodePool::take(size_t n, NodeChain& into) noexcept {
  const size_t before = into.size();
  {
    const SlabLockGuard guard(lock_);
    if (n == 0) return true;
    if (hook_.says_fail()) return false;
    while (into.size() < before + n) {
      void* node = take_one();
      if (node == nullptr) break;
      into.push(node);
    }
  }
  if (into.size() == before + n) return true;
  give(into, before);
  return false;
}

void NodePool::give(NodeChain& from, size_t keep) noexcept {
  if (from.size() <= keep) return;
  const SlabLockGuard guard(lock_);
  while (from.size() > keep) {
    void* node = from.pop();
    if (SlabHead* idle = store_.put(node); idle != nullptr) [[unlikely]] {
      store_.give_back(idle);
    } else {
      forbid(node);
    }
  }
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
  return {store_.live(), store_.slabs(), store_.bytes()};
}

}  // namespace pervma

// node_pool.h: memory for maple tree nodes, shared by the trees of an engine.
//
// Nodes that come back are past their grace period (or were never shared): they may be overwritten.
// Trees take and give nodes in chains, so a store does not take the pool's lock. Every member of
// NodePool may be called from any thread. A pool outlives its trees; its destructor waits for the
// nodes that still sit out a grace period.
#pragma once

#include <atomic>
#include <cstddef>

#include "tree/allocation_hook.h"
#include "tree/maple_node.h"
#include "tree/slab_lock.h"
#include "tree/slab_store.h"

namespace pervma {

// Free nodes, linked through their first word.
class NodeChain {
 public:
  size_t size() const noexcept { return size_; }
  void push(void* node) noexcept;
  // Not when empty.
  void* pop() noexcept;

 private:
  void* head_ = nullptr;
  size_t size_ = 0;
};

class NodePool {
 public:
  struct Stats {
    size_t live;  // nodes with trees: in use, in reserve, or waiting for a grace period
    size_t slabs;
    size_t bytes;
  };

  NodePool() noexcept = default;
  explicit NodePool(AllocationHook hook) noexcept : hook_(hook) {}
  NodePool(const NodePool&) = delete;
  NodePool& operator=(const NodePool&) = delete;
  // Not inside an RCU read section.
  ~NodePool();

  // Adds n nodes to the chain, or none and false: out of memory.
  [[nodiscard]] bool take(size_t n, NodeChain& into) noexcept;
  // Takes the chain's nodes back, until at most `keep` are left in it.
  void give(NodeChain& from, size_t keep = 0) noexcept;

  // A batch of nodes was handed to call_rcu(); and its callback has done all it does with the pool.
  void batch_begins() noexcept { batches_.fetch_add(1, std::memory_order_relaxed); }

  // Whether a writer should wait for readers rather than hand its nodes to liburcu's thread: it
  // took a moment last time. After a slow one (a reader is descheduled) not for the next few dozen.
  [[nodiscard]] bool may_wait_for_readers() noexcept;
  // A grace period. Not inside a read section.
  void wait_for_readers() noexcept;

  void set_allocation_hook(AllocationHook hook) noexcept;
  [[nodiscard]] Stats stats() const noexcept;

 private:
  struct Cell {
    static constexpr size_t kBytes = kMapleNodeBytes;
    static constexpr size_t kAlign = kMapleNodeBytes;
    // What a busy writer's nodes take while they sit out their grace periods, and come back at
    // once.
    static constexpr size_t kSpareBytes = size_t{4} << 20;
    static void construct(void*) noexcept {}
    static void destroy(void* cell) noexcept;
    static void* next(void* cell) noexcept { return *static_cast<void**>(cell); }
    static void set_next(void* cell, void* next) noexcept { *static_cast<void**>(cell) = next; }
  };
  using Store = SlabStore<Cell>;

  [[nodiscard]] void* take_one() noexcept PERVMA_REQUIRES(lock_);

  mutable SlabLock lock_;
  Store store_ PERVMA_GUARDED_BY(lock_);
  AllocationHook hook_ PERVMA_GUARDED_BY(lock_);
  static constexpr uint32_t kWithoutWait = 64;

  std::atomic<uint32_t> without_wait_{0};  // so many times not, because the last wait was long
  std::atomic<size_t> batches_{0};         // ever begun: whether there is anything to wait for
};

}  // namespace pervma

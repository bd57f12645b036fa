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

// Free nodes of one kind, linked through their first word.
template <size_t kNodeBytes>
class BasicNodeChain {
 public:
  size_t size() const noexcept { return size_; }
  void push(void* node) noexcept;
  // Not when empty.
  void* pop() noexcept;

 private:
  void* head_ = nullptr;
  size_t size_ = 0;
};
extern template class BasicNodeChain<kLeafBytes>;
extern template class BasicNodeChain<kInnerBytes>;
using NodeChain = BasicNodeChain<kLeafBytes>;
using InnerChain = BasicNodeChain<kInnerBytes>;

struct NodeCount {
  size_t leaves = 0;
  size_t inners = 0;

  size_t sum() const noexcept { return leaves + inners; }
  size_t bytes() const noexcept { return leaves * kLeafBytes + inners * kInnerBytes; }
  // Of both kinds.
  bool covers(NodeCount other) const noexcept {
    return leaves >= other.leaves && inners >= other.inners;
  }
};

// Free nodes of both kinds.
struct NodeStock {
  NodeChain leaves;
  InnerChain inners;

  NodeCount size() const noexcept { return {leaves.size(), inners.size()}; }
  template <class P>
  void push(MapleRef<P> node) noexcept {
    if (node.is_leaf()) {
      leaves.push(&node.head());
    } else {
      inners.push(&node.head());
    }
  }
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

  // Adds so many nodes to the stock, or none and false: out of memory.
  [[nodiscard]] bool take(NodeCount n, NodeStock& into) noexcept;
  // Takes the stock's nodes back, until at most `keep` are left in it.
  void give(NodeStock& from, NodeCount keep = {}) noexcept;

  // A batch of nodes was handed to call_rcu(); and its callback has done all it does with the pool.
  void batch_begins() noexcept { batches_.fetch_add(1, std::memory_order_relaxed); }

  // Whether a writer should wait for readers rather than hand its nodes to liburcu's thread: it
  // took a moment last time. After a slow one (a reader is descheduled) not for the next few.
  [[nodiscard]] bool may_wait_for_readers() noexcept;
  // A grace period. Not inside a read section.
  void wait_for_readers() noexcept;

  // Moves what has grown to 2 MiB to huge pages: a millisecond, rarely. Best under no lock.
  void use_huge_pages() noexcept PERVMA_NO_ANALYSIS {
    leaves_.use_huge_pages();
    inners_.use_huge_pages();
  }

  void set_allocation_hook(AllocationHook hook) noexcept;
  [[nodiscard]] Stats stats() const noexcept;

 private:
  template <size_t kNodeBytes, size_t kSpare>
  struct Cell {
    static constexpr size_t kBytes = kNodeBytes;
    static constexpr size_t kAlign = kNodeAlign;
    static constexpr size_t kSpareBytes = kSpare;
    static constexpr size_t kSpreadBytes = 0;  // whole lines, and written by one thread only
    static void construct(void*) noexcept {}
    static void destroy(void* cell) noexcept;
    static void* next(void* cell) noexcept { return *static_cast<void**>(cell); }
    static void set_next(void* cell, void* next) noexcept { *static_cast<void**>(cell) = next; }
  };
  // What a busy writer's nodes take while they sit out their grace periods, and come back at once.
  using Leaves = SlabStore<Cell<kLeafBytes, size_t{4} << 20>>;
  using Inners = SlabStore<Cell<kInnerBytes, size_t{512} << 10>>;

  // Adds n nodes, or none and false.
  template <class Store, class Chain>
  [[nodiscard]] bool take_from(Store& store, size_t n, Chain& into) noexcept PERVMA_REQUIRES(lock_);
  template <class Store, class Chain>
  void give_to(Store& store, Chain& from, size_t keep) noexcept PERVMA_REQUIRES(lock_);

  mutable SlabLock lock_;
  Leaves leaves_ PERVMA_GUARDED_BY(lock_);
  Inners inners_ PERVMA_GUARDED_BY(lock_);
  AllocationHook hook_ PERVMA_GUARDED_BY(lock_);
  static constexpr uint32_t kWithoutWait = 16;

  std::atomic<uint32_t> without_wait_{0};  // so many times not, because the last wait was long
  std::atomic<size_t> batches_{0};         // ever begun: whether there is anything to wait for
};

}  // namespace pervma

// maple_retire.h: replaced nodes on their way through a grace period, many to a batch.
//
// What is retired is a record: a node, and which of its children are replaced with it, whole
// subtrees included. So the records of one store are few whatever it removes. They are kept in
// leaves taken from the tree's stock; nothing of a retired node is overwritten before its grace
// period is over. Nobody waits: a tree can be destroyed while its last batch is still under way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "sync/assert.h"
#include "sync/rcu.h"
#include "tree/maple_node.h"
#include "tree/node_pool.h"

namespace pervma {

// A replaced node, with the children that its head says are replaced as whole subtrees. A child
// that is marked `listed` has a record of its own; records stand in an order in which parents come
// first.
template <class P>
struct MapleRecord {
  uint64_t word;

  static MapleRecord of(MapleRef<P> node, unsigned from, unsigned to) noexcept {
    const bool any = !node.is_leaf() && from < to;
    node.head().from = static_cast<uint8_t>(any ? from : 0);
    node.head().to = static_cast<uint8_t>(any ? to : 0);
    return {node.word()};
  }

  // `visit` for the node and for all that goes with it. A node may be freed by its visit.
  template <class Visit>
  void for_each(Visit&& visit) const noexcept {
    const MapleRef<P> top(word);
    const unsigned to = top.head().to;
    for (unsigned i = top.head().from; i < to; ++i) {
      whole(MapleRef<P>(top.inner()->slots[i].load(std::memory_order_relaxed)), visit);
    }
    visit(top);
  }

 private:
  template <class Visit>
  static void whole(MapleRef<P> node, Visit& visit) noexcept {
    if (node.head().listed != 0) return;
    if (!node.is_leaf()) {
      for (unsigned i = 0; i < node.head().count; ++i) {
        whole(MapleRef<P>(node.inner()->slots[i].load(std::memory_order_relaxed)), visit);
      }
    }
    visit(node);
  }
};

template <class P>
class MapleLeftovers;

template <class P>
class MapleRetire {
 public:
  MapleRetire() noexcept = default;
  MapleRetire(const MapleRetire&) = delete;
  MapleRetire& operator=(const MapleRetire&) = delete;
  ~MapleRetire() { PERVMA_DASSERT(first_ == nullptr); }

  // Leaves that `records` further records may take from the stock.
  static constexpr size_t nodes_for(size_t records) noexcept {
    return (records + Batch::kRecords - 1) / Batch::kRecords;
  }

  void add(MapleRecord<P> record, NodeChain& leaves, NodePool& pool) noexcept {
    if (last_ == nullptr || last_->count == Batch::kRecords) grow(leaves, pool);
    last_->records[last_->count++] = record;
    ++records_;
  }

  // Of the records that were added: what they come to.
  void add_nodes(size_t n) noexcept { nodes_ += n; }
  size_t nodes() const noexcept { return nodes_; }

  // A batch that is worth a call_rcu().
  bool is_full() const noexcept { return records_ >= kFullRecords; }
  size_t records() const noexcept { return records_; }

  // Starts the grace period of all records.
  void flush() noexcept {
    if (first_ == nullptr) return;
    Batch* batch = take_all();
    batch->pool->batch_begins();
    call_rcu(&batch->rcu, &run);
  }

  // Everything, for the owner's own wait.
  [[nodiscard]] MapleLeftovers<P> take() noexcept { return MapleLeftovers<P>(take_all()); }

 private:
  friend class MapleLeftovers<P>;

  static constexpr size_t kFullRecords = 100;

  // As big as a leaf, and made of one; only the first of a chain uses rcu.
  struct Batch {
    static constexpr size_t kRecords = 27;
    rcu_head rcu;
    NodePool* pool;
    Batch* next;
    size_t count;
    MapleRecord<P> records[kRecords];
  };
  static_assert(sizeof(Batch) <= kLeafBytes);

  void grow(NodeChain& leaves, NodePool& pool) noexcept {
    auto* batch = ::new (leaves.pop()) Batch;
    batch->pool = &pool;
    batch->next = nullptr;
    batch->count = 0;
    (last_ != nullptr ? last_->next : first_) = batch;
    last_ = batch;
  }

  Batch* take_all() noexcept {
    Batch* const batch = first_;
    first_ = last_ = nullptr;
    records_ = nodes_ = 0;
    return batch;
  }

  // On liburcu's thread, after the grace period.
  static void run(rcu_head* head) noexcept {
    rcu_callback_begins(head);
    free_all(reinterpret_cast<Batch*>(head));
    rcu_callback_ends();
  }

  // After the grace period.
  static void free_all(Batch* batch) noexcept {
    NodePool& pool = *batch->pool;
    NodeStock free;
    while (batch != nullptr) {
      for (size_t i = 0; i < batch->count; ++i) {
        batch->records[i].for_each([&](MapleRef<P> node) noexcept { free.push(node); });
      }
      Batch* next = batch->next;
      free.leaves.push(batch);
      batch = next;
    }
    pool.give(free);
  }

  Batch* first_ = nullptr;
  Batch* last_ = nullptr;
  size_t records_ = 0;
  size_t nodes_ = 0;
};

// Replaced nodes that have left their tree. Its end waits for readers, if there are any nodes in
// it, and gives them to the pool: best under no lock; not inside a read section.
template <class P>
class [[nodiscard]] MapleLeftovers {
  using Batch = typename MapleRetire<P>::Batch;

 public:
  MapleLeftovers() noexcept = default;
  explicit MapleLeftovers(Batch* batch) noexcept : batch_(batch) {}
  MapleLeftovers(MapleLeftovers&& other) noexcept : batch_(std::exchange(other.batch_, nullptr)) {}
  MapleLeftovers& operator=(MapleLeftovers&&) = delete;
  [[nodiscard]] bool is_empty() const noexcept { return batch_ == nullptr; }
  ~MapleLeftovers() {
    if (batch_ == nullptr) return;
    batch_->pool->wait_for_readers();
    MapleRetire<P>::free_all(batch_);
  }

 private:
  Batch* batch_ = nullptr;
};

}  // namespace pervma

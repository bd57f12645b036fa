// maple_tree_impl.h: the bodies of BasicMapleTree's larger members, for whoever instantiates it.
#pragma once

#include <algorithm>
#include <bit>

#include "tree/maple_bulk.h"
#include "tree/maple_check.h"
#include "tree/maple_gaps.h"
#include "tree/maple_rebuild.h"
#include "tree/maple_tree.h"
#include "tree/maple_writer.h"
#include "tree/maple_writer_gaps.h"

namespace pervma {

template <class P>
BasicMapleTree<P>::~BasicMapleTree() {
  mode_ = RcuMode::off;
  clear();
  retire_.flush();
  release_reserve();
}

template <class P>
void* BasicMapleTree<P>::load_below(Ref node, uint64_t index) noexcept {
  while (!node.is_leaf()) {
    const MapleInner<P>* inner = node.inner();
    inner->prefetch_slots();
    node = Ref(MapleProtocol<P>::child(inner->slots[inner->slot_of(index)]));
  }
  const MapleLeaf<P>* leaf = node.leaf();
  leaf->prefetch_slots();
  return reinterpret_cast<void*>(MapleProtocol<P>::entry(leaf->slots[leaf->slot_of(index)]));
}

// How much higher may the tree get? The first store may find the root full, and so each node on its
// way. But a node that was made by a split has room for the children of four stores at least, a new
// root more: so the level below has to be split four times as often for each further level.
template <class P>
NodeCount BasicMapleTree<P>::nodes_needed(unsigned stores) const noexcept {
  const auto quadruplings =
      static_cast<unsigned>(stores == 0 ? 0 : (std::bit_width(stores) - 1) / 2);
  const size_t levels = height_ + 1 + quadruplings;
  const size_t records = kRecordsPerLevel * levels * stores;
  // A batch may be begun for a record when the one before it is full, and another after a flush.
  return {.leaves = kNodesPerLevel * stores + 2 * MapleRetire<P>::nodes_for(records),
          .inners = (kNodesPerLevel * (levels - 1) + 1) * stores};
}

template <class P>
bool BasicMapleTree<P>::reserve(unsigned stores) noexcept {
  const NodeCount needed = nodes_needed(stores);
  const NodeCount have = stock_.size();
  if (!have.covers(needed)) {
    const auto missing = [](size_t need, size_t has) {
      return need > has ? need + kStockSlack - has : 0;
    };
    const NodeCount more{missing(needed.leaves, have.leaves), missing(needed.inners, have.inners)};
    if (!pool_.take(more, stock_)) return false;
  }
  promised_ = needed;
  trim_stock();
  return true;
}

template <class P>
void BasicMapleTree<P>::trim_stock() noexcept {
  const NodeCount most{std::max(promised_.leaves + kStockSlack, kStockMax.leaves),
                       std::max(promised_.inners + kStockSlack, kStockMax.inners)};
  if (!most.covers(stock_.size())) pool_.give(stock_, most);
}

template <class P>
void BasicMapleTree<P>::store_reserved(uint64_t first, uint64_t last, void* entry) noexcept {
  PERVMA_ASSERT_OP(first, <=, last);
  PERVMA_ASSERT_OP(last, <, kMapleMax);
  MapleWriter<P>(*this, first, last, entry).store();
}

template <class P>
bool BasicMapleTree<P>::store_if_empty_reserved(uint64_t first, uint64_t last,
                                                void* entry) noexcept {
  PERVMA_ASSERT_OP(first, <=, last);
  PERVMA_ASSERT_OP(last, <, kMapleMax);
  PERVMA_DASSERT(entry != nullptr);
  return MapleWriter<P>(*this, first, last, entry).store_if_empty();
}

template <class P>
void BasicMapleTree<P>::dispose(MapleRecord<P> record) noexcept {
  if (mode_ == RcuMode::on) {
    retire_.add(record, stock_.leaves, pool_);
    return;
  }
  record.for_each([this](Ref node) noexcept { stock_.push(node); });
}

template <class P>
MapleLeftovers<P> BasicMapleTree<P>::take_many_leftovers() noexcept {
  const size_t nodes = nodes_.sum();
  const bool grows = nodes > most_nodes_;
  const size_t few = std::max(kFewLeftovers, nodes / kGrowingShare);
  const size_t many = std::max(kManyLeftovers, nodes / kSteadyShare);
  if (retire_.nodes() < (grows ? few : many)) return {};
  most_nodes_ = std::max(most_nodes_, nodes);
  if (pool_.may_wait_for_readers()) return retire_.take();
  retire_.flush();
  return {};
}

template <class P>
void BasicMapleTree<P>::clear() noexcept {
  const Ref root(root_.load(std::memory_order_relaxed));
  if (root.is_null()) return;
  const RcuMode mode = mode_;
  if (mode == RcuMode::on && stock_.leaves.size() == 0 && !pool_.take({1, 0}, stock_)) {
    // Not even a list of what has to wait: then this thread waits.
    MapleProtocol<P>::publish(root_, 0);
    P::synchronize_rcu();
    mode_ = RcuMode::off;
  }
  MapleWriter<P>(*this, 0, 0, nullptr).replace_all(root, Ref(uint64_t{0}), 0);
  mode_ = mode;
}

template <class P>
bool BasicMapleTree<P>::duplicate_into(BasicMapleTree& empty) const noexcept {
  PERVMA_ASSERT(empty.empty());
  const Ref root(root_.load(std::memory_order_relaxed));
  if (root.is_null()) return true;
  if (!empty.pool_.take(nodes_, empty.stock_)) return false;
  const Ref copy = MapleWriter<P>(empty, 0, 0, nullptr).copy_below(root);
  empty.height_ = height_;
  MapleProtocol<P>::publish(empty.root_, copy.word());
  return true;
}

template <class P>
MapleStats BasicMapleTree<P>::stats() const noexcept {
  const NodeCount stock = stock_.size();
  return {nodes_.sum(), height_, stock.sum(), nodes_.bytes() + stock.bytes()};
}

}  // namespace pervma

// maple_tree.h: a map from ranges of 64-bit indices to pointers, read without locks under RCU.
//
// A B-tree of non-overlapping ranges [first, last], both inclusive, below 2^64-1. What no range
// covers is empty; empty neighbours are one. Ranges with entries are never joined, even if the
// entries are equal: one store makes one range, and cuts away what it covers of others.
//
// Who may call what: store, erase, clear, reserve, duplicate_into and set_rcu_mode need the tree's
// write lock, which the caller brings; gap searches, check() and stats() exclude writers (any side
// of that lock); load() and cursors need that or an RCU read section. An unlocked answer is a hint:
// it was right at some moment of the call, except that beside two stores in one leaf it may be a
// neighbour of the index, which the entry's own bounds tell once it is locked. See
// maple_protocol.h.
//
// Not for points that come and go one by one in huge numbers: every store copies a node.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "sync/native_platform.h"
#include "tree/maple_node.h"
#include "tree/maple_retire.h"
#include "tree/node_pool.h"

namespace pervma {

template <class P>
class MapleCursor;
template <class P>
class MapleWriter;
template <class P>
class MapleCheck;

// off: nobody reads without the lock, and replaced nodes are freed at once.
enum class RcuMode : uint8_t { on, off };

struct MapleStats {
  size_t nodes;     // reachable from the root
  unsigned height;  // levels of nodes; 0 when empty
  size_t reserved;  // nodes in the tree's own stock
  size_t bytes;     // of both
};

// A range for load_reserved(); a null entry: there are no more.
struct BulkRange {
  uint64_t first;
  uint64_t last;
  void* entry;
};
// Where they come from, in order.
class BulkSource {
 public:
  virtual BulkRange next() noexcept = 0;

 protected:
  ~BulkSource() = default;
};

template <class P>
class BasicMapleTree {
 public:
  using Ref = MapleRef<P>;
  using Cursor = MapleCursor<P>;
  using Leftovers = MapleLeftovers<P>;

  explicit BasicMapleTree(NodePool& pool, RcuMode mode = RcuMode::on) noexcept
      : pool_(pool), mode_(mode) {}
  BasicMapleTree(const BasicMapleTree&) = delete;
  BasicMapleTree& operator=(const BasicMapleTree&) = delete;
  // Nobody may read any more; waits for nobody.
  ~BasicMapleTree();

  // --- readers; wait-free ---

  // The entry whose range holds the index, or null. About 6 ns per level.
  [[nodiscard]] void* load(uint64_t index) const noexcept {
    Ref node(MapleProtocol<P>::child(root_));
    if (node.is_null()) return nullptr;
    if constexpr (detail::kMayVectorSearch<P>) {
      if (detail::vector_search != detail::VectorSearch::none)
        return detail::vector_load(node.word(), index);
    }
    return load_below(node, index);
  }

  [[nodiscard]] bool empty() const noexcept { return root_.load(std::memory_order_relaxed) == 0; }

  // --- the writer ---

  // Makes sure that the next `stores` stores or erasures, of any ranges, cannot fail. False: out of
  // memory, nothing changed. Cheap when the stock is still there from last time.
  [[nodiscard]] bool reserve(unsigned stores) noexcept;
  // Gives the stock back to the pool.
  void release_reserve() noexcept {
    promised_ = {};
    pool_.give(stock_);
  }

  // Sets [first, last] to the entry, or empties it (null). Within a reservation; cannot fail.
  // Logarithmic, and linear in what is cut away; about 100 ns in a small tree.
  void store_reserved(uint64_t first, uint64_t last, void* entry) noexcept;
  void erase_reserved(uint64_t first, uint64_t last) noexcept {
    store_reserved(first, last, nullptr);
  }
  // Stores only where [first, last] is empty; else false. Costs one walk.
  [[nodiscard]] bool store_if_empty_reserved(uint64_t first, uint64_t last, void* entry) noexcept;
  // As reserve(), but keeps what a larger reservation still holds.
  [[nodiscard]] bool has_stock_for(unsigned stores) noexcept {
    return stock_.size().covers(nodes_needed(stores)) || reserve(stores);
  }
  [[nodiscard]] bool has_stock_for_one() noexcept { return has_stock_for(1); }
  // The same without a reservation, or as one of those it is for. False: out of memory, nothing
  // changed.
  [[nodiscard]] bool store(uint64_t first, uint64_t last, void* entry) noexcept {
    if (!has_stock_for_one()) return false;
    store_reserved(first, last, entry);
    return true;
  }
  [[nodiscard]] bool erase(uint64_t first, uint64_t last) noexcept {
    return store(first, last, nullptr);
  }

  // Makes the tree anew of ranges that come in order, in one step for readers and in linear time.
  // The source may ask the tree itself, which stays as it is until it has given its last range.
  // `slots`: the ranges, and the empty runs before, between and behind them. reserve_bulk() first;
  // false: out of memory, nothing changed.
  [[nodiscard]] bool reserve_bulk(uint64_t slots) noexcept;
  void load_reserved(uint64_t slots, BulkSource& source) noexcept;

  // Empties the tree. Waits for RCU readers only if there is no memory left to do without.
  void clear() noexcept;

  // Makes `empty` a copy of this tree, node by node. False: out of memory, `empty` is still empty.
  [[nodiscard]] bool duplicate_into(BasicMapleTree& empty) const noexcept;

  // Starts the grace period of the nodes replaced so far; else that happens a hundred at a time.
  void flush_retired() noexcept { retire_.flush(); }

  // For an owner who asks after each series of stores: what he is to wait for, mostly nothing. Its
  // end waits for readers, so let it live until the write lock is released. Nodes are then used
  // again before the tree maps more memory: what waits stays small beside what the tree has.
  void set_leftovers_taken() noexcept { owner_waits_ = true; }
  [[nodiscard]] Leftovers take_leftovers() noexcept {
    if (retire_.nodes() < kFewLeftovers) [[likely]]
      return {};
    return take_many_leftovers();
  }

  // Turning it on: before the tree gets readers. Off: when the last unlocked reader has gone.
  void set_rcu_mode(RcuMode mode) noexcept { mode_ = mode; }
  [[nodiscard]] RcuMode rcu_mode() const noexcept { return mode_; }

  // --- under either side of the write lock ---

  // The first index of the lowest (highest) empty run of `size` indices in [lo, hi]; nothing: there
  // is none. Of a longer run, its lowest (highest) part. Logarithmic but for the ends of the
  // window.
  [[nodiscard]] std::optional<uint64_t> find_gap_lowest(uint64_t lo, uint64_t hi,
                                                        uint64_t size) const noexcept;
  [[nodiscard]] std::optional<uint64_t> find_gap_highest(uint64_t lo, uint64_t hi,
                                                         uint64_t size) const noexcept;

  // What is wrong with the structure, clause by clause; empty when nothing is.
  [[nodiscard]] std::string check() const;
  [[nodiscard]] MapleStats stats() const noexcept;

 private:
  friend class MapleCursor<P>;
  friend class MapleWriter<P>;
  friend class MapleCheck<P>;

  // A store makes at most three nodes per level and one new root; see maple_rebuild.h.
  static constexpr unsigned kNodesPerLevel = 3;
  static constexpr unsigned kRecordsPerLevel = 4;
  // Taken beyond what a reservation needs, so that a series of stores does not lock the pool each
  // time.
  static constexpr size_t kStockSlack = 16;
  // More than this is given back, unless it is promised.
  static constexpr NodeCount kStockMax{104, 40};

  // While it grows, so many nodes may wait, or a part of what it has: they are part of what a range
  // costs. A tree that stays as big as it is disturbs its readers less often with grace periods.
  static constexpr size_t kFewLeftovers = 512;
  static constexpr size_t kManyLeftovers = 4096;
  static constexpr size_t kMostLeftovers = 16384;  // of one long series
  static constexpr size_t kGrowingShare = 16;
  static constexpr size_t kSteadyShare = 8;

  Leftovers take_many_leftovers() noexcept;
  static void* load_below(Ref node, uint64_t index) noexcept;
  NodeCount nodes_needed(unsigned stores) const noexcept;
  void trim_stock() noexcept;
  // Retires or frees a record's nodes, which are marked dead already.
  void dispose(MapleRecord<P> record) noexcept;
  // Of all records of a store, which came to so many nodes.
  void after_disposal(size_t nodes) noexcept {
    if (mode_ != RcuMode::on) return;
    retire_.add_nodes(nodes);
    if (retire_.is_full() && (!owner_waits_ || retire_.nodes() >= kMostLeftovers)) {
      retire_.flush();
    }
  }

  // What readers load stands apart from what the writer changes with every store.
  alignas(64) typename MapleProtocol<P>::Word root_{0};
  NodePool& pool_;

  alignas(64) NodeStock stock_;
  MapleRetire<P> retire_;
  NodeCount promised_;  // what the last reservation needs
  NodeCount nodes_;
  size_t most_nodes_ = 0;  // when leftovers were last taken
  unsigned height_ = 0;
  RcuMode mode_;
  bool owner_waits_ = false;
};

using MapleTree = BasicMapleTree<NativePlatform>;
extern template class BasicMapleTree<NativePlatform>;

}  // namespace pervma

#include "tree/maple_cursor.h"

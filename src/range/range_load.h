// range_load.h: many ranges at once into a BasicRangeCore, by making its tree anew.
//
// Readers see all of them or none: the tree, of the ranges that are there and those that come, is
// built beside the map's and published in one step. Each new range is attached before that, as in a
// split: marked, so that nobody enters before the section's end. The others are not touched.
#pragma once

#include <cerrno>
#include <utility>

#include "range/range_core.h"

namespace pervma {

// The ranges of a map and others, in the order of both.
class RangeMerge {
 public:
  using Where = Range (*)(const void* context, size_t i) noexcept;

  struct Next {
    uint64_t first;
    uint64_t last;
    void* entry;  // null: one of the others, and the first of those that were not named yet
  };

  RangeMerge(const MapleTree& tree, size_t n, Where where, const void* context) noexcept
      : cursor_(tree), n_(n), where_(where), context_(context) {
    is_more_ = tree.empty() ? false : cursor_.next() != nullptr;
  }

  // False: there are no more.
  bool next(Next& to) noexcept {
    if (i_ < n_) {
      const Range range = where_(context_, i_);
      if (!is_more_ || range.start.value < cursor_.first()) {
        ++i_;
        to = {range.start.value, range.end.value - 1, nullptr};
        return true;
      }
    }
    if (!is_more_) return false;
    to = {cursor_.first(), cursor_.last(), cursor_.entry()};
    is_more_ = cursor_.next() != nullptr;
    return true;
  }

 private:
  MapleTree::Cursor cursor_;  // on a range of the map that was not named yet, if there is one
  bool is_more_;
  size_t i_ = 0;
  const size_t n_;
  const Where where_;
  const void* const context_;
};

template <class P>
int BasicRangeCore<P>::load(Cell* first, size_t n,
                            Range (*where)(const void* context, size_t i) noexcept,
                            const void* context) noexcept {
  PERVMA_ASSERT(n > 0);
  uint64_t slots = 1;  // the empty run behind the last
  uint64_t free = 0;
  RangeMerge::Next range;
  for (RangeMerge all(tree_, n, where, context); all.next(range);) {
    slots += range.first > free ? 2 : 1;
    free = range.last + 1;
  }
  if (!tree_.reserve_bulk(slots)) return ENOMEM;

  class Source final : public BulkSource {
   public:
    Source(BasicRangeCore& core, Cell* cell, size_t n_each, RangeMerge::Where where_each,
           const void* whose) noexcept
        : lock_(core.lock_), cell_(cell), all_(core.tree_, n_each, where_each, whose) {}
    BulkRange next() noexcept override {
      RangeMerge::Next range;
      if (!all_.next(range)) return {0, 0, nullptr};
      if (range.entry != nullptr) return {range.first, range.last, range.entry};
      Cell* const cell = std::exchange(cell_, static_cast<Cell*>(cell_->free_next()));
      cell->set_bounds(range.first, range.last);
      Lock::attach(cell->near, cell->far, lock_);
      return {range.first, range.last, cell};
    }

   private:
    MapLock& lock_;
    Cell* cell_;
    RangeMerge all_;
  };
  Source source(*this, first, n, where, context);
  tree_.load_reserved(slots, source);
  add_ranges(static_cast<ptrdiff_t>(n));
  return 0;
}

}  // namespace pervma

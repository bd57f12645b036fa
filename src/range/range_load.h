// range_load.h: many ranges at once into an empty BasicRangeCore.
//
// Readers see all of them or none: the tree is built beside the map and published in one step. Each
// range is attached before that, as in a split: marked, so that nobody enters before the section's
// end.
#pragma once

#include <cerrno>
#include <utility>

#include "range/range_core.h"

namespace pervma {

template <class P>
int BasicRangeCore<P>::load(Cell* first, size_t n,
                            Range (*where)(const void* context, size_t i) noexcept,
                            const void* context) noexcept {
  PERVMA_ASSERT(n > 0);
  uint64_t slots = n + 1;  // and the empty run behind the last
  uint64_t free = 0;
  for (size_t i = 0; i < n; ++i) {
    const Range range = where(context, i);
    if (range.start.value > free) ++slots;
    free = range.end.value;
  }
  if (!tree_.reserve_bulk(slots)) return ENOMEM;

  class Source final : public BulkSource {
   public:
    Source(BasicRangeCore& core, Cell* cell, Range (*where_each)(const void*, size_t) noexcept,
           const void* whose) noexcept
        : core_(core), cell_(cell), where_(where_each), context_(whose) {}
    BulkRange next() noexcept override {
      if (cell_ == nullptr) return {0, 0, nullptr};
      Cell* const cell = std::exchange(cell_, static_cast<Cell*>(cell_->free_next()));
      const Range range = where_(context_, i_++);
      cell->set_bounds(range.start.value, range.end.value - 1);
      Lock::attach(cell->near, cell->far, core_.lock_);
      return {cell->first_index(), cell->last_index(), cell};
    }

   private:
    BasicRangeCore& core_;
    Cell* cell_;
    Range (*const where_)(const void*, size_t) noexcept;
    const void* const context_;
    size_t i_ = 0;
  };
  Source source(*this, first, where, context);
  tree_.load_reserved(slots, source);
  add_ranges(static_cast<ptrdiff_t>(n));
  return 0;
}

}  // namespace pervma

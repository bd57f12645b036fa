// range_lifecycle.h: the beginning and the end of a BasicRangeCore.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#include "range/range_core.h"

namespace pervma {

template <class P>
auto BasicRangeCore<P>::create(const Ops& ops, AllocationHook hook) noexcept
    -> std::unique_ptr<BasicRangeCore> {
  auto cache = RangeCellCache<P>::create(ops.words, hook);
  if (cache == nullptr) return nullptr;
  return std::unique_ptr<BasicRangeCore>(new (std::nothrow)
                                             BasicRangeCore(ops, hook, std::move(cache)));
}

template <class P>
BasicRangeCore<P>::~BasicRangeCore() PERVMA_NO_ANALYSIS {
  const auto refuse = [](const char* what) {
    std::fprintf(stderr, "pervma: a RangeMap was destroyed %s\n", what);
    std::abort();
  };
  if (!retired_.all_out()) refuse("under a guard of a retired range");
  if (t_held_maps.holds(this)) refuse("inside its writer section or under a guard");
  if (lock_.is_held_for_write()) refuse("inside another thread's writer section");
  MapleTree::Cursor cursor(tree_);
  for (void* entry = cursor.next(); entry != nullptr; entry = cursor.next()) {
    if (Lock::reader_count(static_cast<Cell*>(entry)->far) != 0) refuse("under a guard");
  }
  // Nobody is left. A last section, so that each range ends as the protocol has it. What the thread
  // holds of other maps may be all that it can note, so this is not noted.
  lock_.lock_write();
  cursor.reset(0);
  for (void* entry = cursor.next(); entry != nullptr; entry = cursor.next()) {
    auto& cell = *static_cast<Cell*>(entry);
    (void)lock(cell, {});
    detach(cell);
  }
  tree_.clear();
  leave_section();
  while (Cell* const cell = stock_.pop()) cache_->free(cell);
}

}  // namespace pervma

// range_check.h: a RangeMap's structure, verified in labelled clauses.
//
//   [tree]      the tree itself is right (maple_check.h)
//   [bounds]    each range has the bounds that the tree has for it
//   [attached]  each range in the tree is attached, and not retired
//   [mark]      no mark is ahead of the map's sequence
//   [owner]     each range belongs to this map
//   [count]     the map knows how many ranges it has; the cache has those and the writer's stock,
//   and
//               at most what is on its way out besides
#pragma once

#include <string>

#include "range/range_core.h"

namespace pervma {

// Under the map lock for write, which this takes; not inside a writer section.
template <class P>
std::string BasicRangeCore<P>::check() {
  if (t_held_maps.holds(this)) return "[held] the calling thread holds a guard or a section\n";
  const BasicMmapWrite<P> held(lock_);  // The report may throw.
  std::string report = tree_.check();
  if (!report.empty()) report = "[tree] " + report;
  const auto expect = [&](bool holds, const char* what, uint64_t index) {
    if (holds || report.size() > 1000) return;
    report += std::string(what) + " at " + std::to_string(index) + "\n";
  };
  size_t count = 0;
  MapleTree::Cursor cursor(tree_);
  for (void* entry = cursor.next(); entry != nullptr; entry = cursor.next()) {
    const Cell& cell = *static_cast<const Cell*>(entry);
    ++count;
    expect(cell.first_index() == cursor.first() && cell.last_index() == cursor.last(),
           "[bounds] a range", cursor.first());
    const uint32_t refs = cell.far.vm_refcnt.load(std::memory_order_relaxed);
    expect(refs != 0 && refs <= Lock::kLimit, "[attached] a range", cursor.first());
    expect(cell.near.vm_lock_seq.load(std::memory_order_relaxed) < lock_.seq_relaxed(),
           "[mark] a range", cursor.first());
    expect(cell.near.owner == &lock_, "[owner] a range", cursor.first());
  }
  expect(count == ranges_.load(std::memory_order_relaxed), "[count] ranges", count);
  expect(count + stock_.size() <= cache_->stats().live, "[count] cells", count);
  return report;
}

}  // namespace pervma

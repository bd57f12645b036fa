// range_model.h: what a maple tree must equal: ranges in a std::map, each search by brute force.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <optional>

#include "tree/maple_tree.h"

namespace pervma::testing {

class RangeModel {
 public:
  struct Value {
    uint64_t last;
    void* entry;
  };
  using Map = std::map<uint64_t, Value>;

  void store(uint64_t first, uint64_t last, void* entry) {
    cut_at(first);
    if (last != kMapleMax) cut_at(last + 1);
    map_.erase(map_.lower_bound(first), map_.upper_bound(last));
    if (entry != nullptr) map_[first] = {last, entry};
  }

  // The range that holds the index, or the end.
  Map::const_iterator find(uint64_t index) const {
    auto it = map_.upper_bound(index);
    if (it == map_.begin()) return map_.end();
    --it;
    return it->second.last >= index ? it : map_.end();
  }

  void* load(uint64_t index) const {
    const auto it = find(index);
    return it == map_.end() ? nullptr : it->second.entry;
  }

  std::optional<uint64_t> gap_lowest(uint64_t lo, uint64_t hi, uint64_t size) const {
    uint64_t at = lo;
    for (auto it = map_.begin(); it != map_.end() && it->first <= hi; ++it) {
      if (it->second.last < at) continue;
      if (it->first > at && it->first - at >= size) return at;
      if (it->second.last >= hi) return std::nullopt;
      at = it->second.last + 1;
    }
    if (at > hi || hi - at < size - 1) return std::nullopt;
    return at;
  }

  std::optional<uint64_t> gap_highest(uint64_t lo, uint64_t hi, uint64_t size) const {
    uint64_t at = hi;  // the highest index that may still be the end
    for (auto it = map_.rbegin(); it != map_.rend() && it->second.last >= lo; ++it) {
      if (it->first > at) continue;
      if (it->second.last < at && at - it->second.last >= size) return at - (size - 1);
      if (it->first <= lo) return std::nullopt;
      at = it->first - 1;
    }
    if (at < lo || at - lo < size - 1) return std::nullopt;
    return at - (size - 1);
  }

  const Map& map() const { return map_; }
  size_t size() const { return map_.size(); }

 private:
  // A range that holds the index and begins before it becomes two.
  void cut_at(uint64_t index) {
    const auto it = find(index);
    if (it == map_.end() || it->first == index) return;
    const Value right = it->second;
    map_[it->first].last = index - 1;
    map_[index] = right;
  }

  Map map_;
};

// Empty when the tree holds exactly the model's ranges, in a walk forward and in one backward.
inline std::string difference(const MapleTree& tree, const RangeModel& model) {
  MapleTree::Cursor cursor(tree);
  const auto differs = [&](const char* way, uint64_t first, const RangeModel::Value& v) {
    return cursor.first() != first || cursor.last() != v.last || cursor.entry() != v.entry
               ? std::string(way) + " differs at " + std::to_string(first)
               : std::string();
  };
  cursor.next();
  for (const auto& [first, value] : model.map()) {
    if (std::string d = differs("forward", first, value); !d.empty()) return d;
    cursor.next();
  }
  if (cursor.entry() != nullptr) return "more ranges than the model";
  cursor.reset(kMapleMax);
  for (auto it = model.map().rbegin(); it != model.map().rend(); ++it) {
    cursor.prev();
    if (std::string d = differs("backward", it->first, it->second); !d.empty()) return d;
  }
  if (cursor.prev() != nullptr) return "more ranges than the model, backward";
  return {};
}

// Distinct entries that are never dereferenced.
inline void* entry_of(uint64_t n) { return reinterpret_cast<void*>(n * 16 + 16); }

}  // namespace pervma::testing

// interval_map.h: a map from address ranges to values, for what a recording says of each address.
// Single-threaded; the engine's own map is the maple tree.
#pragma once

#include <map>
#include <utility>

#include "pervma/address.h"

namespace pervma::trace {

template <class V>
class IntervalMap {
 public:
  // Gives every address of the range the value, whatever it had.
  void assign(Range r, const V& value) {
    if (r.empty()) return;
    erase(r);
    map_.emplace(r.start, Piece{r.end, value});
  }

  void erase(Range r) {
    if (r.empty()) return;
    cut(r.start);
    cut(r.end);
    map_.erase(map_.lower_bound(r.start), map_.lower_bound(r.end));
  }

  void clear() { map_.clear(); }

  // The value at the address, or null.
  const V* at(Address a) const {
    auto it = map_.upper_bound(a);
    if (it == map_.begin()) return nullptr;
    --it;
    return a < it->second.end ? &it->second.value : nullptr;
  }

  // Calls f(Range, value) for each piece that meets the range, clipped to it, in order.
  template <class F>
  void for_each(Range r, F f) const {
    auto it = map_.upper_bound(r.start);
    if (it != map_.begin()) --it;
    for (; it != map_.end() && it->first < r.end; ++it) {
      const Range piece = Range{it->first, it->second.end}.intersection(r);
      if (!piece.empty()) f(piece, it->second.value);
    }
  }

  // Whether every address of the range has a value.
  bool covers(Range r) const {
    Address at = r.start;
    for_each(r, [&](Range piece, const V&) {
      if (piece.start == at) at = piece.end;
    });
    return at >= r.end;
  }

 private:
  struct Piece {
    Address end;
    V value;
  };

  void cut(Address a) {
    auto it = map_.lower_bound(a);
    if (it == map_.begin()) return;
    --it;
    if (it->second.end <= a) return;
    map_.emplace_hint(std::next(it), a, Piece{it->second.end, it->second.value});
    it->second.end = a;
  }

  std::map<Address, Piece> map_;
};

}  // namespace pervma::trace

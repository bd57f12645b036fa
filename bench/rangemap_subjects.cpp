#include "bench/rangemap_subjects.h"

#include "pervma/range_map.h"

namespace pervma::bench {

namespace {

// The value is the start again, as an owner's pointer would be.
using Map = RangeMap<uint64_t>;

class RangeMapBase {
 public:
  explicit RangeMapBase(Map map) : map_(std::move(map)) {}

  bool insert(uint64_t start, uint64_t end) noexcept {
    auto w = map_.write();
    return w && w->insert({Address{start}, Address{end}}, uint64_t{start}).has_value();
  }
  bool erase(uint64_t start, uint64_t) noexcept {
    auto w = map_.write();
    return w && w->erase(Address{start}).has_value();
  }
  bool insert_and_erase(const uint64_t* starts, size_t n) noexcept {
    auto w = map_.write();
    bool good = w.has_value();
    for (size_t i = 0; i < n && good; ++i) {
      const Range range{Address{starts[i]}, Address{starts[i]} + kPageSize};
      good = w->insert(range, uint64_t{starts[i]}).has_value();
    }
    for (size_t i = 0; i < n && good; ++i) good = w->erase(Address{starts[i]}).has_value();
    return good;
  }

 protected:
  Map map_;
};

class FindMap : public RangeMapBase {
 public:
  using RangeMapBase::RangeMapBase;
  uint64_t find(uint64_t address, unsigned) noexcept {
    const auto guard = map_.find(Address{address});
    return guard ? guard->value() : kNothing;
  }
};

class FindFastMap : public RangeMapBase {
 public:
  using RangeMapBase::RangeMapBase;
  uint64_t find(uint64_t address, unsigned) noexcept {
    const auto entry = map_.find_fast(Address{address});
    return entry ? entry->value : kNothing;
  }
};

template <class M>
SubjectMaker maker(const char* name) {
  return [name]() -> SubjectPtr {
    Result<Map> map = Map::create();
    return map ? std::make_unique<SubjectOf<M>>(name, std::move(*map)) : nullptr;
  };
}

}  // namespace

std::vector<SubjectMaker> rangemap_makers() {
  return {maker<FindMap>("rangemap"), maker<FindFastMap>("rangemap:find_fast")};
}

}  // namespace pervma::bench

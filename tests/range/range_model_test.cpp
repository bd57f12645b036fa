// A RangeMap equals a simple map after each of many random operations, and is right inside.
#include <gtest/gtest.h>

#include <iterator>
#include <map>
#include <random>
#include <string>

#include "pervma/range_map.h"

namespace pervma {
namespace {

// Start -> {end, value}; every operation by brute force.
class Model {
 public:
  struct Value {
    uint64_t end;
    uint64_t value;
  };
  using Map = std::map<uint64_t, Value>;
  Map map;

  Map::iterator holding(uint64_t at) {
    auto it = map.upper_bound(at);
    if (it == map.begin()) return map.end();
    --it;
    return at < it->second.end ? it : map.end();
  }
  // The first that ends behind `at`.
  Map::iterator from(uint64_t at) {
    const auto it = holding(at);
    return it != map.end() ? it : map.lower_bound(at);
  }
  bool insert(uint64_t start, uint64_t end, uint64_t value) {
    const auto it = from(start);
    if (it != map.end() && it->first < end) return false;
    map[start] = {end, value};
    return true;
  }
  size_t erase(uint64_t start, uint64_t end) {
    size_t count = 0;
    for (auto it = from(start); it != map.end() && it->first < end; ++count) it = map.erase(it);
    return count;
  }
  bool split(uint64_t at, uint64_t value) {
    const auto it = holding(at);
    if (it == map.end() || it->first == at) return false;
    map[at] = {it->second.end, value};
    it->second.end = at;
    return true;
  }
  bool merge(uint64_t at) {
    const auto right = map.find(at);
    if (right == map.end() || right == map.begin()) return false;
    const auto left = std::prev(right);
    if (left->second.end != at) return false;
    left->second.end = right->second.end;
    map.erase(right);
    return true;
  }
};

using Map = RangeMap<uint64_t>;

std::string difference(const Map& map, const Model& model) {
  auto it = model.map.begin();
  std::string wrong;
  const auto count = map.for_each({{0}, {~uint64_t{0}}}, [&](const Map::Guard& guard) {
    if (it == model.map.end() || guard.range().start.value != it->first ||
        guard.range().end.value != it->second.end || guard.value() != it->second.value) {
      wrong = "differs at " + std::to_string(guard.range().start.value);
      return false;
    }
    ++it;
    return true;
  });
  if (!wrong.empty()) return wrong;
  return count == model.map.size() ? std::string() : "another number of ranges";
}

struct Shape {
  uint64_t space;  // addresses
  uint64_t longest;
  int operations;
};

void run(const Shape& shape, uint32_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](uint64_t n) { return random() % n; };
  Map map = Map::create().value();
  Model model;
  for (int i = 0; i < shape.operations;) {
    auto w = map.write();
    // Sections of one change and of several.
    for (uint64_t n = 1 + below(4) * below(4); n > 0 && i < shape.operations; --n, ++i) {
      const uint64_t at = below(shape.space);
      const uint64_t end = at + 1 + below(shape.longest);
      const uint64_t value = random();
      const Range range{Address{at}, Address{end}};
      switch (below(9)) {
        case 0:
        case 1:
        case 2: ASSERT_EQ(w->insert(range, value).has_value(), model.insert(at, end, value)); break;
        case 3: ASSERT_EQ(w->erase_in(range).value(), model.erase(at, end)); break;
        case 4: ASSERT_EQ(w->retire_in(range).value(), model.erase(at, end)); break;
        case 5: ASSERT_EQ(w->split(Address{at}, value).has_value(), model.split(at, value)); break;
        case 6: {
          const auto it = model.from(at);
          if (it == model.map.end()) break;
          const uint64_t boundary = it->first;
          ASSERT_EQ(w->merge(Address{boundary}).has_value(), model.merge(boundary));
          break;
        }
        case 7: {
          const auto it = model.holding(at);
          const auto old = w->change(Address{at}, value);
          ASSERT_EQ(old.has_value(), it != model.map.end());
          if (old) {
            ASSERT_EQ(*old, std::exchange(it->second.value, value));
          }
          break;
        }
        default: {
          const auto holds = [&](uint64_t a) {
            const auto it = model.holding(a);
            return it != model.map.end() && it->first != a ? it->second.value : 0;
          };
          const uint64_t left = holds(at);
          if (left != 0) model.split(at, left);
          const uint64_t right = holds(end);
          if (right != 0) model.split(end, right);
          ASSERT_EQ(w->cut(range).value(), model.erase(at, end));
        }
      }
    }
    w->end();
    ASSERT_EQ(map.check(), "") << "after operation " << i;
    const uint64_t at = below(shape.space);
    const auto it = model.holding(at);
    const auto entry = map.find_fast(Address{at});
    ASSERT_EQ(entry.has_value(), it != model.map.end());
    if (entry) {
      ASSERT_EQ(entry->value, it->second.value);
    }
    if (i % 16 == 0) {
      ASSERT_EQ(difference(map, model), "") << "after operation " << i;
    }
  }
  ASSERT_EQ(difference(map, model), "");
  ASSERT_EQ(map.stats().ranges, model.map.size());
}

TEST(RangeModelTest, a_crowded_map_equals_the_model) { run({200, 20, 3000}, 1); }
TEST(RangeModelTest, a_map_of_many_small_ranges_equals_the_model) { run({5000, 4, 4000}, 2); }
TEST(RangeModelTest, a_map_of_single_addresses_equals_the_model) { run({300, 1, 3000}, 3); }
TEST(LongRangeModelTest, many_seeds_equal_the_model) {
  for (uint32_t seed = 10; seed < 200; ++seed) run({2000, 1 + seed % 40, 20000}, seed);
}

}  // namespace
}  // namespace pervma

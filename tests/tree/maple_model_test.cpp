// The maple tree against std::map under random stores, erasures and gap searches.
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "tests/tree/range_model.h"
#include "tree/maple_tree.h"

namespace pervma {
namespace {

using testing::difference;
using testing::entry_of;
using testing::RangeModel;

struct Shape {
  const char* name;
  uint64_t universe;  // indices in use: [base, base + universe)
  uint64_t base;
  unsigned target;   // ranges around which the number of them swings
  uint64_t longest;  // of most ranges
  RcuMode mode;
};

class RandomOps {
 public:
  RandomOps(const Shape& shape, uint64_t seed)
      : shape_(shape), tree_(pool_, shape.mode), rng_(seed) {}

  // The operation's number and what is wrong, or nothing.
  std::string run(uint64_t ops, uint64_t check_each_of_first, uint64_t then_every) {
    for (uint64_t n = 0; n < ops; ++n) {
      step();
      if (n >= check_each_of_first && n % then_every != 0) continue;
      std::string wrong = tree_.check();
      if (wrong.empty() && n % 16 == 0) wrong = difference(tree_, model_);
      if (!wrong.empty()) return "operation " + std::to_string(n) + ": " + wrong;
      if (!complaint_.empty()) return "operation " + std::to_string(n) + ": " + complaint_;
    }
    return complaint_.empty() ? difference(tree_, model_) : complaint_;
  }

 private:
  uint64_t below(uint64_t n) { return n == 0 ? 0 : rng_() % n; }
  uint64_t index() { return shape_.base + below(shape_.universe); }
  uint64_t top() const { return shape_.base + (shape_.universe - 1); }

  // A range that often begins or ends where another one does, and sometimes spans many.
  std::pair<uint64_t, uint64_t> range() {
    uint64_t first = index();
    uint64_t last = 0;
    const auto it = model_.find(first);
    if (below(3) == 0 && it != model_.map().end()) first = it->first;
    if (below(8) == 0 && it != model_.map().end() && it->second.last < top())
      first = it->second.last + 1;
    const bool spans = below(64) == 0;
    const uint64_t length = 1 + below(spans ? shape_.universe / 4 : shape_.longest);
    last = length - 1 > top() - first ? top() : first + (length - 1);
    const auto end = model_.find(last);
    if (below(3) == 0 && end != model_.map().end()) last = end->second.last;
    return {first, std::max(first, last)};
  }

  void step() {
    const uint64_t kind = below(16);
    const bool crowded = model_.size() > shape_.target;
    if (kind == 0) {
      gaps();
    } else if (kind == 1) {
      const uint64_t at = index();
      if (tree_.load(at) != model_.load(at)) complaint_ += "load(" + std::to_string(at) + ") ";
    } else {
      const auto [first, last] = range();
      void* entry = below(8) < (crowded ? 4 : 2) ? nullptr : entry_of(next_++);
      if (!tree_.store(first, last, entry)) complaint_ += "store failed ";
      model_.store(first, last, entry);
    }
  }

  void gaps() {
    uint64_t lo = index();
    uint64_t hi = index();
    if (lo > hi) std::swap(lo, hi);
    if (below(4) == 0) lo = 0;
    if (below(4) == 0) hi = kMapleMax - 1;
    const uint64_t size = 1 + below(below(2) == 0 ? shape_.longest : shape_.universe / 8);
    if (tree_.find_gap_lowest(lo, hi, size) != model_.gap_lowest(lo, hi, size)) {
      complaint_ += "lowest gap of " + std::to_string(size) + " in " + std::to_string(lo) + ".." +
                    std::to_string(hi) + " ";
    }
    if (tree_.find_gap_highest(lo, hi, size) != model_.gap_highest(lo, hi, size)) {
      complaint_ += "highest gap of " + std::to_string(size) + " in " + std::to_string(lo) + ".." +
                    std::to_string(hi) + " ";
    }
  }

  const Shape shape_;
  NodePool pool_;
  MapleTree tree_;
  RangeModel model_;
  std::mt19937_64 rng_;
  uint64_t next_ = 0;
  std::string complaint_;
};

constexpr uint64_t kWhole = kMapleMax;  // indices 0 .. 2^64-2
const Shape kShapes[] = {
    {"dense", 2000, 0, 300, 12, RcuMode::on},
    {"dense_unshared", 2000, 0, 300, 12, RcuMode::off},
    {"packed", 400, 100, 400, 2, RcuMode::on},
    {"sparse", uint64_t{1} << 47, 0, 1200, uint64_t{1} << 37, RcuMode::on},
    {"at_the_top", 5000, kMapleMax - 5000, 250, 30, RcuMode::off},
    {"everywhere", kWhole, 0, 600, uint64_t{1} << 56, RcuMode::on},
};

class MapleModel : public ::testing::TestWithParam<Shape> {};
class LongMapleTree : public ::testing::TestWithParam<Shape> {};

std::string shape_name(const ::testing::TestParamInfo<Shape>& info) { return info.param.name; }

TEST_P(MapleModel, random_operations_equal_a_map) {
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    EXPECT_EQ(RandomOps(GetParam(), seed).run(25'000, 3'000, 250), "") << "seed " << seed;
  }
}
INSTANTIATE_TEST_SUITE_P(Shapes, MapleModel, ::testing::ValuesIn(kShapes), shape_name);

TEST_P(LongMapleTree, ten_million_random_operations_equal_a_map) {
  EXPECT_EQ(RandomOps(GetParam(), 7).run(10'000'000, 100'000, 1'000), "");
}
INSTANTIATE_TEST_SUITE_P(LongShapes, LongMapleTree, ::testing::ValuesIn(kShapes), shape_name);

}  // namespace
}  // namespace pervma

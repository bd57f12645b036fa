// Every allocation of ranges and tree nodes fails once: ENOMEM, and the map is as it was.
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "pervma/range_map.h"

namespace pervma {
namespace {

Range range(uint64_t start, uint64_t end) { return {Address{start}, Address{end}}; }

// Fails the nth allocation from now on, and those after it.
struct Allocations {
  int until_failure = -1;
  static bool fail(void* context) {
    auto& self = *static_cast<Allocations*>(context);
    if (self.until_failure < 0) return false;
    if (self.until_failure == 0) return true;
    --self.until_failure;
    return false;
  }
};

struct RangeFailureTest : ::testing::Test {
  using Map = RangeMap<uint64_t>;
  Allocations allocations;
  Map map = make();

  Map make() {
    RangeMapOptions<uint64_t> options;
    options.fail_allocation = &Allocations::fail;
    options.fail_context = &allocations;
    return Map::create(options).value();
  }
  std::string text() {
    std::string out;
    (void)map.for_each(range(0, ~uint64_t{0}), [&](const Map::Guard& guard) {
      out += std::to_string(guard.range().start.value) + "-" +
             std::to_string(guard.range().end.value) + "=" + std::to_string(guard.value()) + " ";
    });
    return out;
  }
  // Lets the operation meet every failure in turn; between them the map must not change.
  void each_fails(const std::function<Result<void>(RangeWriter<uint64_t>&)>& operation) {
    const std::string before = text();
    for (int n = 0; n < 1000; ++n) {
      // A fresh stock each time: what is left from before would hide failures.
      allocations.until_failure = n;
      auto w = map.write();
      const Result<void> done = operation(*w);
      w->end();
      allocations.until_failure = -1;
      ASSERT_EQ(map.check(), "");
      if (done) {
        EXPECT_NE(text(), before);
        return;
      }
      ASSERT_EQ(done.error(), Error::nomem);
      ASSERT_EQ(text(), before);
    }
    FAIL() << "never succeeds";
  }
  void fill(uint64_t ranges) {
    auto w = map.write();
    for (uint64_t i = 0; i < ranges; ++i) ASSERT_TRUE(w->insert(range(i * 10, i * 10 + 10), i));
  }
};

TEST_F(RangeFailureTest, the_first_insert) {
  each_fails([](auto& w) { return w.insert(range(1, 2), 3); });
}

TEST_F(RangeFailureTest, an_insert_into_many) {
  fill(3000);
  each_fails([](auto& w) { return w.insert(range(40000, 40001), 3); });
}

TEST_F(RangeFailureTest, a_split) {
  fill(300);
  each_fails([](auto& w) { return w.split(Address{1505}, 3); });
}

TEST_F(RangeFailureTest, a_merge) {
  fill(300);
  each_fails([](auto& w) { return w.merge(Address{1500}); });
}

TEST_F(RangeFailureTest, an_erasure_of_many) {
  fill(3000);
  each_fails([](auto& w) -> Result<void> {
    const auto count = w.erase_in(range(1000, 20000));
    return count ? Result<void>() : std::unexpected(count.error());
  });
}

TEST_F(RangeFailureTest, a_retirement_of_many) {
  fill(3000);
  each_fails([](auto& w) -> Result<void> {
    const auto count = w.retire_in(range(1000, 20000));
    return count ? Result<void>() : std::unexpected(count.error());
  });
}

TEST_F(RangeFailureTest, a_cut) {
  fill(300);
  each_fails([](auto& w) -> Result<void> {
    const auto count = w.cut(range(1505, 1705));
    return count ? Result<void>() : std::unexpected(count.error());
  });
}

// A value in a box of its own, for which there is no memory.
struct Boxed {
  static inline Allocations* allocations = nullptr;
  static void* operator new(size_t bytes, const std::nothrow_t& nothrow) noexcept {
    return Allocations::fail(allocations) ? nullptr : ::operator new(bytes, nothrow);
  }
  static void operator delete(void* box) noexcept { ::operator delete(box); }

  uint64_t number = 0;
  std::array<uint64_t, 8> more{};
};

TEST_F(RangeFailureTest, a_cut_through_values_in_boxes) {
  Boxed::allocations = &allocations;
  RangeMap<Boxed> boxes = RangeMap<Boxed>::create().value();
  ASSERT_TRUE(boxes.write()->insert(range(10, 20), Boxed{.number = 1}));
  ASSERT_TRUE(boxes.write()->insert(range(20, 30), Boxed{.number = 2}));
  for (const int n : {0, 1}) {
    allocations.until_failure = n;
    EXPECT_EQ(boxes.write()->cut(range(15, 25)).error(), Error::nomem);
    allocations.until_failure = -1;
    EXPECT_EQ(boxes.stats().ranges, 2U);
    EXPECT_EQ(boxes.find(Address{15})->range(), range(10, 20));
    EXPECT_EQ(boxes.find(Address{15})->value().number, 1U);
    EXPECT_EQ(boxes.check(), "");
  }
  EXPECT_EQ(boxes.write()->cut(range(15, 25)).value(), 2U);
  EXPECT_EQ(boxes.stats().ranges, 2U);
  Boxed::allocations = nullptr;
}

TEST_F(RangeFailureTest, a_reservation_outlives_a_smaller_one_and_a_cut) {
  fill(2000);
  auto w = map.write();
  ASSERT_TRUE(w->reserve(400));
  allocations.until_failure = 0;
  ASSERT_TRUE(w->reserve(3));
  ASSERT_TRUE(w->cut(range(5, 15)));  // three changes
  for (uint64_t i = 0; i < 397; ++i) {
    ASSERT_TRUE(w->insert(range(50'000 + i * 3, 50'001 + i * 3), i)) << i;
  }
  allocations.until_failure = -1;
}

TEST_F(RangeFailureTest, a_reservation_that_fails_leaves_no_memory_in_hand) {
  constexpr int kCells = 50'000;
  const size_t before = map.stats().bytes;
  auto w = map.write();
  allocations.until_failure = kCells;
  EXPECT_EQ(w->reserve(size_t{2} * kCells).error(), Error::nomem);
  allocations.until_failure = -1;
  w->end();
  EXPECT_LE(map.stats().bytes, before + (size_t{512} << 10));
}

TEST_F(RangeFailureTest, a_load) {
  fill(10);
  each_fails([](auto& w) {
    std::vector<RangeEntry<uint64_t>> entries;
    entries.reserve(400);
    for (uint64_t i = 0; i < 400; ++i) entries.push_back({range(1000 + i * 3, 1002 + i * 3), i});
    return w.load(entries);
  });
}

TEST_F(RangeFailureTest, a_load_of_few_beside_many) {
  fill(3000);
  each_fails([](auto& w) {
    std::vector<RangeEntry<uint64_t>> entries;
    entries.reserve(20);
    for (uint64_t i = 0; i < 20; ++i) entries.push_back({range(90'000 + i * 3, 90'002 + i * 3), i});
    return w.load(entries);
  });
}

TEST_F(RangeFailureTest, a_load_into_an_empty_map) {
  each_fails([](auto& w) {
    std::vector<RangeEntry<uint64_t>> entries;
    entries.reserve(400);
    for (uint64_t i = 0; i < 400; ++i) entries.push_back({range(1000 + i * 3, 1002 + i * 3), i});
    return w.load(entries);
  });
}

// The values are the caller's again, none lost or destroyed twice.
TEST_F(RangeFailureTest, a_load_that_fails_leaves_the_values) {
  using Owner = std::unique_ptr<int>;
  RangeMapOptions<Owner> options;
  options.fail_allocation = &Allocations::fail;
  options.fail_context = &allocations;
  RangeMap<Owner> owners = RangeMap<Owner>::create(options).value();
  std::vector<RangeEntry<Owner>> entries;
  entries.reserve(300);
  for (int i = 0; i < 300; ++i) {
    const auto at = static_cast<uint64_t>(i) * 10;
    entries.push_back({range(at, at + 5), std::make_unique<int>(i)});
  }
  for (int n = 0;; ++n) {
    allocations.until_failure = n;
    const Result<void> done = owners.write()->load(entries);
    allocations.until_failure = -1;
    if (done) break;
    ASSERT_EQ(done.error(), Error::nomem);
    for (int i = 0; i < 300; ++i) {
      const Owner& value = entries[static_cast<size_t>(i)].value;
      ASSERT_TRUE(value != nullptr && *value == i);
    }
    ASSERT_EQ(owners.stats().ranges, 0U);
    ASSERT_EQ(owners.check(), "");
  }
  EXPECT_EQ(owners.stats().ranges, 300U);
  EXPECT_EQ(*owners.find(Address{2992})->value(), 299);
}

TEST_F(RangeFailureTest, a_reservation_makes_the_rest_infallible) {
  fill(100);
  auto w = map.write();
  ASSERT_TRUE(w->reserve(200));
  allocations.until_failure = 0;
  for (uint64_t i = 0; i < 200; ++i) {
    ASSERT_TRUE(w->insert(range(50000 + i * 3, 50001 + i * 3), i)) << i;
  }
  allocations.until_failure = -1;
}

}  // namespace
}  // namespace pervma

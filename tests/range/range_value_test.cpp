// Values of every kind: where they live, and when they end.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "pervma/range_map.h"

namespace pervma {
namespace {

Range range(uint64_t start, uint64_t end) { return {Address{start}, Address{end}}; }

struct Small {
  uint32_t a;
  uint8_t b;
  friend bool operator==(const Small&, const Small&) = default;
};
using Big = std::array<uint64_t, 8>;
using TooBig = std::array<uint64_t, 9>;
struct alignas(64) Aligned {
  uint64_t a;
};
struct Movable {
  explicit Movable(std::string t) : text(std::move(t)) {}
  std::string text;
  std::unique_ptr<int> owned = std::make_unique<int>(7);
};
struct LargeMovable : Movable {
  using Movable::Movable;
  std::array<char, 64> more{};
};
static_assert(detail::RangeValue<Small>::kWords && detail::RangeValue<Big>::kWords);
static_assert(detail::RangeValue<Big>::kCount == 8);
static_assert(!detail::RangeValue<TooBig>::kWords && !detail::RangeValue<TooBig>::kInline);
static_assert(detail::RangeValue<Aligned>::kWords);
static_assert(detail::RangeValue<Movable>::kInline);
static_assert(!detail::RangeValue<LargeMovable>::kInline);

template <class Value>
void expect_kept(Value value) {
  auto map = RangeMap<Value>::create().value();
  ASSERT_TRUE(map.write()->insert(range(1, 2), value));
  EXPECT_EQ(map.find(Address{1})->value(), value);
  if constexpr (detail::RangeValue<Value>::kWords) {
    EXPECT_EQ(map.find_fast(Address{1})->value, value);
  }
  EXPECT_EQ(map.check(), "");
}

TEST(RangeValueTest, words_of_every_size_are_kept) {
  expect_kept<char>('x');
  expect_kept<Small>({1, 2});
  expect_kept<std::array<uint64_t, 2>>({1, 2});
  expect_kept<std::array<uint64_t, 3>>({1, 2, 3});
  expect_kept<std::array<uint64_t, 4>>({1, 2, 3, 4});
  expect_kept<std::array<uint64_t, 5>>({1, 2, 3, 4, 5});
  expect_kept<Big>({1, 2, 3, 4, 5, 6, 7, 8});
  expect_kept<TooBig>({1, 2, 3, 4, 5, 6, 7, 8, 9});
  expect_kept<std::array<uint8_t, 61>>({1, 2, 3});
  expect_kept<void*>(nullptr);
}

template <class Value>
void expect_moved() {
  auto map = RangeMap<Value>::create().value();
  ASSERT_TRUE(map.write()->insert(range(10, 20), Value("one")));
  {
    auto guard = map.find(Address{12});
    EXPECT_EQ(guard->value().text, "one");
    EXPECT_EQ((*guard)->text, "one");
  }
  Value refused("two");
  EXPECT_EQ(map.write()->insert(range(15, 16), std::move(refused)).error(), Error::exist);
  EXPECT_EQ(refused.text, "two");  // NOLINT(bugprone-use-after-move): an error gives it back
  EXPECT_TRUE(map.write()->split(Address{15}, std::move(refused)));
  EXPECT_EQ(map.write()->change(Address{12}, Value("three"))->text, "one");
  EXPECT_TRUE(map.write()->update(Address{12}, [](Value& value) { value.text += "!"; }));
  EXPECT_EQ(map.find(Address{12})->value().text, "three!");
  EXPECT_EQ(map.find(Address{15})->value().text, "two");
  EXPECT_TRUE(map.write()->merge(Address{15}));
  EXPECT_TRUE(map.write()->retire(Address{15}));
  EXPECT_EQ(map.check(), "");
}

TEST(RangeValueTest, a_movable_value_lives_in_the_range) { expect_moved<Movable>(); }
TEST(RangeValueTest, a_large_movable_value_lives_in_a_box) { expect_moved<LargeMovable>(); }

// Lives in its range's cell, behind 40 bytes of lock and bounds.
template <size_t kBytes>
struct InPlace {
  InPlace() = default;
  InPlace(InPlace&&) noexcept {}
  InPlace& operator=(InPlace&&) noexcept { return *this; }
  ~InPlace() {}
  std::array<uint64_t, kBytes / 8> words{};
};

template <size_t kBytes>
void expect_apart() {
  constexpr uint64_t kRanges = 1'000;
  using Value = InPlace<kBytes>;
  static_assert(detail::RangeValue<Value>::kInline);
  auto map = RangeMap<Value>::create().value();
  for (uint64_t i = 0; i < kRanges; ++i) {
    const uint64_t at = i * 619 % kRanges * 10;
    ASSERT_TRUE(map.write()->insert(range(at, at + 5), Value()));
  }
  std::set<uintptr_t> pairs;  // of cache lines
  for (uint64_t i = 0; i < kRanges; ++i) {
    const auto guard = map.find(Address{i * 10});
    const uintptr_t value = reinterpret_cast<uintptr_t>(&guard->value());
    const uintptr_t cell = value - 40;
    EXPECT_EQ(cell / 64, (cell + std::min<size_t>(40 + kBytes, 64) - 1) / 64) << i;
    EXPECT_TRUE(pairs.insert(cell / 128).second) << i;
    if (cell / 128 != (value + kBytes - 1) / 128) {
      EXPECT_TRUE(pairs.insert((value + kBytes - 1) / 128).second) << i;
    }
  }
}

// Who holds a range writes to its cell: threads that hold others must not wait for it.
TEST(RangeValueTest, the_ranges_of_a_small_map_share_no_cache_line) {
  expect_apart<8>();
  expect_apart<16>();
  expect_apart<24>();
  expect_apart<32>();
  expect_apart<48>();
  expect_apart<64>();
}

struct Counted {
  static inline int alive = 0;
  explicit Counted(int v) : value(v) { ++alive; }
  Counted(Counted&& other) noexcept : value(other.value) { ++alive; }
  Counted& operator=(Counted&& other) noexcept = default;
  ~Counted() { --alive; }
  int value;
};

TEST(RangeValueTest, every_value_is_destroyed_once) {
  Counted::alive = 0;
  {
    auto map = RangeMap<Counted>::create().value();
    {
      auto w = map.write();
      for (uint64_t i = 0; i < 100; ++i) {
        ASSERT_TRUE(w->insert(range(i * 10, i * 10 + 10), Counted(static_cast<int>(i))));
      }
    }
    EXPECT_EQ(Counted::alive, 100);
    EXPECT_TRUE(map.write()->merge(Address{10}));
    EXPECT_EQ(Counted::alive, 99);
    EXPECT_TRUE(map.write()->erase_in(range(100, 200)));
    EXPECT_EQ(Counted::alive, 89);
    EXPECT_EQ(map.write()->insert(range(0, 5), Counted(1)).error(), Error::exist);
    EXPECT_TRUE(map.write()->change(Address{0}, Counted(2)));
    EXPECT_EQ(Counted::alive, 89);
    EXPECT_TRUE(map.write()->retire(Address{300}));
    EXPECT_EQ(Counted::alive, 88);
    auto guard = map.find(Address{310});
    auto hold = std::move(*guard).hand_over();
    EXPECT_TRUE(map.write()->retire(Address{310}));
    EXPECT_EQ(Counted::alive, 88);
    EXPECT_EQ(hold.value().value, 31);
    hold.release();
    EXPECT_EQ(Counted::alive, 87);
  }
  EXPECT_EQ(Counted::alive, 0);
}

TEST(RangeValueTest, a_removed_value_lives_until_the_section_ends) {
  Counted::alive = 0;
  auto map = RangeMap<Counted>::create().value();
  ASSERT_TRUE(map.write()->insert(range(1, 2), Counted(1)));
  auto w = map.write();
  ASSERT_TRUE(w->erase(Address{1}));
  EXPECT_EQ(Counted::alive, 1);
  w->end();
  EXPECT_EQ(Counted::alive, 0);
}

// A destructor that uses the map it was in.
struct Calls {
  RangeMap<Calls>* map = nullptr;
  int* found = nullptr;
  explicit Calls(RangeMap<Calls>* m, int* f) : map(m), found(f) {}
  Calls(Calls&& other) noexcept : map(std::exchange(other.map, nullptr)), found(other.found) {}
  ~Calls() {
    if (map == nullptr) return;
    *found += map->find(Address{50}) ? 1 : 0;
    *found += map->write() ? 10 : 0;
  }
};

TEST(RangeValueTest, destructors_run_under_no_lock) {
  int found = 0;
  auto map = RangeMap<Calls>::create().value();
  ASSERT_TRUE(map.write()->insert(range(50, 60), Calls(nullptr, nullptr)));
  ASSERT_TRUE(map.write()->insert(range(1, 2), Calls(&map, &found)));
  ASSERT_TRUE(map.write()->erase(Address{1}));
  EXPECT_EQ(found, 11);
  ASSERT_TRUE(map.write()->insert(range(1, 2), Calls(&map, &found)));
  auto hold = std::move(*map.find(Address{1})).hand_over();
  ASSERT_TRUE(map.write()->retire(Address{1}));
  hold.release();
  EXPECT_EQ(found, 22);
}

TEST(RangeValueTest, destructors_of_a_map_that_ends_run_under_no_lock) {
  int found = 0;
  {
    auto map = RangeMap<Calls>::create().value();
    ASSERT_TRUE(map.write()->insert(range(1, 2), Calls(&map, &found)));
  }
  EXPECT_EQ(found, 10);
}

TEST(RangeValueTest, the_hook_is_told_of_every_retired_range_once_with_its_bounds) {
  struct Told {
    Range range;
    int value;
    bool operator==(const Told&) const = default;
  };
  std::vector<Told> told;
  RangeMapOptions<int> options;
  options.context = &told;
  options.on_retired = [](void* context, Range r, const int& value) noexcept {
    static_cast<std::vector<Told>*>(context)->push_back({r, value});
  };
  auto map = RangeMap<int>::create(options).value();
  for (int i = 0; i < 4; ++i) {
    const auto at = static_cast<uint64_t>(i) * 10;
    ASSERT_TRUE(map.write()->insert(range(at, at + 10), i));
  }
  auto hold = std::move(*map.find(Address{10})).hand_over();
  EXPECT_EQ(map.write()->retire_in(range(0, 25)).value(), 3U);
  ASSERT_EQ(told.size(), 2U);
  EXPECT_NE(told[0], told[1]);
  for (const Told& each : told) {
    EXPECT_TRUE((each == Told{range(0, 10), 0}) || (each == Told{range(20, 30), 2}));
  }
  hold.release();
  EXPECT_EQ(told.back(), (Told{range(10, 20), 1}));
  EXPECT_TRUE(map.write()->erase(Address{30}));
  EXPECT_EQ(told.size(), 3U);
}

}  // namespace
}  // namespace pervma

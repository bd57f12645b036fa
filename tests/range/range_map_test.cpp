// What a RangeMap answers to one thread: each operation, each error.
#include "pervma/range_map.h"

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace pervma {
namespace {

constexpr uint64_t kTop = std::numeric_limits<uint64_t>::max();

Range range(uint64_t start, uint64_t end) { return {Address{start}, Address{end}}; }

struct RangeMapTest : ::testing::Test {
  using Map = RangeMap<uint64_t>;
  Map map = Map::create().value();

  Result<void> insert(uint64_t start, uint64_t end, uint64_t value) {
    return map.write()->insert(range(start, end), value);
  }
  // "[1,2)=3 [4,5)=6"
  static std::string text_of(Map& map) {
    std::string out;
    (void)map.for_each(range(0, kTop), [&](const Map::Guard& guard) {
      out += (out.empty() ? "[" : " [") + std::to_string(guard.range().start.value) + "," +
             std::to_string(guard.range().end.value) + ")=" + std::to_string(guard.value());
    });
    return out;
  }
  std::string text() { return text_of(map); }
  ~RangeMapTest() override { EXPECT_EQ(map.check(), ""); }
};

TEST_F(RangeMapTest, find_holds_the_range_with_the_address) {
  ASSERT_TRUE(insert(10, 20, 7));
  for (const uint64_t at : {10, 15, 19}) {
    const auto guard = map.find(Address{at});
    ASSERT_TRUE(guard);
    EXPECT_EQ(guard->range(), range(10, 20));
    EXPECT_EQ(guard->value(), 7U);
    EXPECT_EQ(**guard, 7U);
  }
}

TEST_F(RangeMapTest, find_answers_noent_where_nothing_is) {
  EXPECT_EQ(map.find(Address{5}).error(), Error::noent);
  ASSERT_TRUE(insert(10, 20, 7));
  for (const uint64_t at : {uint64_t{0}, uint64_t{9}, uint64_t{20}, kTop - 1, kTop}) {
    EXPECT_EQ(map.find(Address{at}).error(), Error::noent) << at;
    EXPECT_EQ(map.try_find(Address{at}).outcome, RangeTry::nothing) << at;
    EXPECT_EQ(map.find_fast(Address{at}).error(), Error::noent) << at;
    EXPECT_FALSE(map.try_find_fast(Address{at})) << at;
  }
}

TEST_F(RangeMapTest, ranges_may_begin_at_0_and_end_at_the_top) {
  ASSERT_TRUE(insert(0, 1, 1));
  ASSERT_TRUE(insert(kTop - 1, kTop, 2));
  EXPECT_EQ(map.find(Address{0})->value(), 1U);
  EXPECT_EQ(map.find(Address{kTop - 1})->value(), 2U);
  EXPECT_EQ(map.find(Address{kTop}).error(), Error::noent);
  EXPECT_EQ(map.write()->erase(Address{kTop}).error(), Error::noent);
  EXPECT_EQ(map.write()->retire(Address{kTop}).error(), Error::noent);
  EXPECT_TRUE(map.write()->erase(Address{kTop - 1}));
}

TEST_F(RangeMapTest, empty_and_inverted_ranges_are_inval) {
  EXPECT_EQ(insert(5, 5, 1).error(), Error::inval);
  EXPECT_EQ(insert(6, 5, 1).error(), Error::inval);
  EXPECT_EQ(map.write()->erase_in(range(6, 5)).error(), Error::inval);
  EXPECT_EQ(map.write()->retire_in(range(6, 6)).error(), Error::inval);
  EXPECT_EQ(map.write()->cut(range(6, 5)).error(), Error::inval);
  EXPECT_EQ(map.find_gap(range(6, 5), 1).error(), Error::inval);
  EXPECT_EQ(map.find_gap(range(5, 6), 0).error(), Error::inval);
  // An end that passed 2^64 is an inverted range.
  EXPECT_EQ(insert(kTop - 1, Address{Address{kTop - 1} + 16}.value, 1).error(), Error::inval);
  EXPECT_EQ(text(), "");
}

TEST_F(RangeMapTest, insert_forbids_overlap) {
  ASSERT_TRUE(insert(10, 20, 7));
  for (const Range r : {range(10, 20), range(0, 11), range(19, 30), range(12, 13), range(0, 99)}) {
    EXPECT_EQ(map.write()->insert(r, 1).error(), Error::exist) << r.start.value;
  }
  EXPECT_TRUE(insert(20, 30, 8));
  EXPECT_TRUE(insert(5, 10, 6));
  EXPECT_EQ(text(), "[5,10)=6 [10,20)=7 [20,30)=8");
}

TEST_F(RangeMapTest, find_fast_copies_range_and_value) {
  ASSERT_TRUE(insert(10, 20, 7));
  const auto entry = map.find_fast(Address{12});
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->range, range(10, 20));
  EXPECT_EQ(entry->value, 7U);
}

TEST_F(RangeMapTest, split_leaves_the_right_half_with_its_own_value) {
  ASSERT_TRUE(insert(10, 20, 7));
  EXPECT_TRUE(map.write()->split(Address{15}, 8));
  EXPECT_EQ(text(), "[10,15)=7 [15,20)=8");
  EXPECT_TRUE(map.write()->split(Address{16}));
  EXPECT_EQ(text(), "[10,15)=7 [15,16)=8 [16,20)=8");
  EXPECT_EQ(map.write()->split(Address{15}, 1).error(), Error::exist);
  EXPECT_EQ(map.write()->split(Address{20}, 1).error(), Error::noent);
  EXPECT_EQ(map.write()->split(Address{20}).error(), Error::noent);
}

TEST_F(RangeMapTest, merge_keeps_the_left_value) {
  ASSERT_TRUE(insert(10, 15, 7));
  ASSERT_TRUE(insert(15, 20, 8));
  ASSERT_TRUE(insert(21, 30, 9));
  EXPECT_EQ(map.write()->merge(Address{20}).error(), Error::noent);
  EXPECT_EQ(map.write()->merge(Address{21}).error(), Error::noent);
  EXPECT_EQ(map.write()->merge(Address{0}).error(), Error::noent);
  EXPECT_EQ(map.write()->merge(Address{12}).error(), Error::inval);
  EXPECT_TRUE(map.write()->merge(Address{15}));
  EXPECT_EQ(text(), "[10,20)=7 [21,30)=9");
}

TEST_F(RangeMapTest, change_returns_the_old_value) {
  ASSERT_TRUE(insert(10, 20, 7));
  EXPECT_EQ(map.write()->change(Address{12}, 9).value(), 7U);
  EXPECT_EQ(map.find_fast(Address{12})->value, 9U);
  EXPECT_TRUE(map.write()->update(Address{12}, [](uint64_t& value) { value *= 2; }));
  EXPECT_EQ(map.find_fast(Address{12})->value, 18U);
  EXPECT_EQ(map.write()->change(Address{20}, 9).error(), Error::noent);
  EXPECT_EQ(map.write()->update(Address{20}, [](uint64_t&) {}).error(), Error::noent);
}

TEST_F(RangeMapTest, erase_removes_whole_ranges_and_cut_exactly_the_window) {
  for (uint64_t i = 0; i < 6; ++i) ASSERT_TRUE(insert(i * 10, i * 10 + 10, i));
  EXPECT_TRUE(map.write()->erase(Address{9}));
  EXPECT_EQ(map.write()->erase(Address{9}).error(), Error::noent);
  EXPECT_EQ(map.write()->erase_in(range(15, 31)).value(), 3U);
  EXPECT_EQ(text(), "[40,50)=4 [50,60)=5");
  EXPECT_EQ(map.write()->cut(range(45, 55)).value(), 2U);
  EXPECT_EQ(text(), "[40,45)=4 [55,60)=5");
  EXPECT_EQ(map.write()->cut(range(42, 43)).value(), 1U);
  EXPECT_EQ(text(), "[40,42)=4 [43,45)=4 [55,60)=5");
  EXPECT_EQ(map.write()->cut(range(0, 10)).value(), 0U);
}

TEST_F(RangeMapTest, a_section_sees_its_own_changes_and_readers_see_them_when_it_ends) {
  {
    auto w = map.write();
    ASSERT_TRUE(w->insert(range(10, 20), 1));
    EXPECT_EQ(w->find(Address{10})->value, 1U);
    EXPECT_FALSE(w->find(Address{20}));
    EXPECT_EQ(w->find_next(Address{0}, Address{99})->range, range(10, 20));
    EXPECT_FALSE(w->find_next(Address{20}, Address{99}));
    EXPECT_FALSE(map.try_find_fast(Address{10}));
    EXPECT_EQ(map.try_find(Address{10}).outcome, RangeTry::contended);
  }
  EXPECT_TRUE(map.try_find_fast(Address{10}));
}

TEST_F(RangeMapTest, load_puts_in_all_or_nothing) {
  ASSERT_TRUE(insert(100, 110, 5));
  using Entries = std::vector<Map::Entry>;
  Entries good{{range(0, 10), 1}, {range(10, 20), 2}, {range(50, 60), 3}};
  Entries unordered{{range(210, 220), 1}, {range(200, 205), 2}};
  Entries overlapping{{range(200, 210), 1}, {range(209, 220), 2}};
  Entries over_old{{range(90, 100), 1}, {range(105, 106), 2}};
  Entries with_empty{{range(200, 200), 1}};
  EXPECT_EQ(map.write()->load(unordered).error(), Error::inval);
  EXPECT_EQ(map.write()->load(overlapping).error(), Error::exist);
  EXPECT_EQ(map.write()->load(over_old).error(), Error::exist);
  EXPECT_EQ(map.write()->load(with_empty).error(), Error::inval);
  EXPECT_EQ(text(), "[100,110)=5");
  EXPECT_TRUE(map.write()->load({}));
  EXPECT_TRUE(map.write()->load(good));
  EXPECT_EQ(text(), "[0,10)=1 [10,20)=2 [50,60)=3 [100,110)=5");
}

// Every number of slots up to several levels, with runs between, before and behind at random.
TEST_F(RangeMapTest, a_load_into_an_empty_map_is_as_if_inserted_one_by_one) {
  std::mt19937_64 random(3);
  size_t size = 1;
  for (int round = 0; round < 120; ++round) {
    Map loaded = Map::create().value();
    Map inserted = Map::create().value();
    std::vector<Map::Entry> entries;
    entries.reserve(size);
    uint64_t at = random() % 2;
    const uint64_t with_gaps = random() % 3;
    for (size_t i = 0; i < size; ++i) {
      const uint64_t end = at + 1 + random() % 5;
      entries.push_back({range(at, end), random()});
      at = end + (random() % 3 < with_gaps ? 1 + random() % 9 : 0);
    }
    if (round % 10 == 9) entries.back().range.end = Address{~uint64_t{0}};
    for (const Map::Entry& e : entries) ASSERT_TRUE(inserted.write()->insert(e.range, e.value));
    ASSERT_TRUE(loaded.write()->load(entries));
    ASSERT_EQ(loaded.check(), "") << size;
    ASSERT_EQ(text_of(loaded), text_of(inserted));
    ASSERT_EQ(loaded.stats().ranges, size);
    const uint64_t gap = 1 + random() % 9;
    for (const GapSide side : {GapSide::lowest, GapSide::highest}) {
      EXPECT_EQ(loaded.find_gap(range(0, at + 100), gap, side),
                inserted.find_gap(range(0, at + 100), gap, side));
    }
    // It is a tree like another.
    ASSERT_TRUE(loaded.write()->erase_in(range(at / 3, at / 2 + 1)));
    ASSERT_EQ(loaded.check(), "") << size;
    size = round < 60 ? size + 1 : size + random() % 90;
  }
}

// Few beside many and many beside few: one by one, or with the tree made anew.
TEST_F(RangeMapTest, a_load_beside_ranges_is_as_if_inserted_one_by_one) {
  std::mt19937_64 random(4);
  for (int round = 0; round < 60; ++round) {
    Map loaded = Map::create().value();
    Map inserted = Map::create().value();
    std::vector<Map::Entry> entries;
    const uint64_t share = round % 3 == 0 ? 60 : 1 + random() % 40;  // of one to load
    const uint64_t places = 1 + random() % 900;
    for (uint64_t i = 0; i < places; ++i) {
      const Map::Entry e{range(i * 10 + random() % 3, i * 10 + 3 + random() % 8), random()};
      if (random() % share == 0) {
        entries.push_back(e);
      } else {
        ASSERT_TRUE(loaded.write()->insert(e.range, e.value));
      }
      ASSERT_TRUE(inserted.write()->insert(e.range, e.value));
    }
    ASSERT_TRUE(loaded.write()->load(entries));
    ASSERT_EQ(loaded.check(), "") << round;
    ASSERT_EQ(text_of(loaded), text_of(inserted));
    ASSERT_EQ(loaded.stats().ranges, places);
    const uint64_t gap = 1 + random() % 9;
    for (const GapSide side : {GapSide::lowest, GapSide::highest}) {
      EXPECT_EQ(loaded.find_gap(range(0, places * 10 + 100), gap, side),
                inserted.find_gap(range(0, places * 10 + 100), gap, side));
    }
    ASSERT_TRUE(loaded.write()->erase_in(range(places * 3, places * 6 + 1)));
    ASSERT_EQ(loaded.check(), "") << round;
  }
}

// What a reservation takes grows with the stores it is for, not with their square.
TEST_F(RangeMapTest, a_load_of_few_beside_many_takes_memory_for_few) {
  int asked = 0;
  RangeMapOptions<uint64_t> options;
  options.fail_allocation = [](void* n) { return ++*static_cast<int*>(n) < 0; };
  options.fail_context = &asked;
  Map many = Map::create(options).value();
  std::vector<Map::Entry> old;
  std::vector<Map::Entry> entries;
  old.reserve(30'000);
  entries.reserve(900);
  for (uint64_t i = 0; i < 30'000; ++i) old.push_back({range(i * 10, i * 10 + 5), i});
  for (uint64_t i = 0; i < 900; ++i) entries.push_back({range(i * 300 + 5, i * 300 + 7), i});
  ASSERT_TRUE(many.write()->load(old));
  asked = 0;
  ASSERT_TRUE(many.write()->load(entries));
  // Slabs of 64 KB or more, and one question for each cell.
  EXPECT_LT(asked, 900 + 400);
  EXPECT_EQ(many.check(), "");
}

TEST_F(RangeMapTest, a_load_into_an_empty_map_takes_no_node_more_than_its_ranges_fill) {
  std::vector<Map::Entry> entries;
  entries.reserve(30'000);
  for (uint64_t i = 0; i < 30'000; ++i) entries.push_back({range(i * 10, i * 10 + 10), i});
  ASSERT_TRUE(map.write()->load(entries));
  // A cell of 48 bytes, the first 2,044 of 128; a fifteenth of a leaf and of what is above; slabs
  // not full.
  EXPECT_LE(map.stats().bytes,
            30'000 * (48 + 256 / 15 + 3) + size_t{2'044} * 80 + (size_t{200} << 10));
}

TEST_F(RangeMapTest, gaps_are_found_from_either_end) {
  ASSERT_TRUE(insert(10, 20, 1));
  ASSERT_TRUE(insert(25, 30, 2));
  EXPECT_EQ(map.find_gap(range(0, 100), 5).value(), Address{0});
  EXPECT_EQ(map.find_gap(range(10, 100), 5).value(), Address{20});
  EXPECT_EQ(map.find_gap(range(10, 100), 6).value(), Address{30});
  EXPECT_EQ(map.find_gap(range(0, 100), 5, GapSide::highest).value(), Address{95});
  EXPECT_EQ(map.find_gap(range(0, 30), 5, GapSide::highest).value(), Address{20});
  EXPECT_EQ(map.find_gap(range(10, 30), 6).error(), Error::noent);
  EXPECT_EQ(map.write()->find_gap(range(10, 100), 6), Address{30});
}

TEST_F(RangeMapTest, iteration_meets_every_range_of_the_window_until_told_to_stop) {
  for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(insert(i * 10, i * 10 + 5, i));
  uint64_t next = 2;
  const auto count = map.for_each(
      range(24, 80), [&](const Map::Guard& guard) { EXPECT_EQ(guard.value(), next++); });
  EXPECT_EQ(count.value(), 6U);
  EXPECT_EQ(map.for_each(range(0, kTop), [](const Map::Guard& g) { return g.value() < 3; }), 4U);
}

TEST_F(RangeMapTest, stats_count_ranges_and_memory) {
  EXPECT_EQ(map.stats().ranges, 0U);
  for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(insert(i * 10, i * 10 + 5, i));
  EXPECT_EQ(map.stats().ranges, 100U);
  EXPECT_GT(map.stats().bytes, 100U * 48);
}

TEST_F(RangeMapTest, a_map_is_moved_with_everything_in_it) {
  ASSERT_TRUE(insert(10, 20, 7));
  Map other = std::move(map);
  EXPECT_EQ(other.find(Address{10})->value(), 7U);
  map = std::move(other);
  EXPECT_EQ(map.find(Address{10})->value(), 7U);
}

TEST_F(RangeMapTest, a_reservation_holds_for_the_section) {
  auto w = map.write();
  ASSERT_TRUE(w->reserve(500));
  for (uint64_t i = 0; i < 500; ++i) ASSERT_TRUE(w->insert(range(i * 7, i * 7 + 3), i));
  w->end();
  EXPECT_EQ(map.stats().ranges, 500U);
}

// Adjacent ranges whose values go on become one.
struct Offsets {
  bool operator()(Range left, const uint64_t& l, Range, const uint64_t& r) const noexcept {
    return l + left.bytes() == r;
  }
};

struct MergeRuleTest : ::testing::Test {
  using Map = RangeMap<uint64_t, Offsets>;
  Map map = Map::create().value();
  void insert(uint64_t start, uint64_t end, uint64_t value) {
    ASSERT_TRUE(map.write()->insert(range(start, end), value));
  }
  void expect(uint64_t at, uint64_t start, uint64_t end, uint64_t value) {
    const auto entry = map.find_fast(Address{at});
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->range, range(start, end));
    EXPECT_EQ(entry->value, value);
    EXPECT_EQ(map.check(), "");
  }
};

TEST_F(MergeRuleTest, a_new_range_extends_the_left_neighbour) {
  insert(10, 20, 100);
  insert(20, 25, 110);
  expect(22, 10, 25, 100);
  EXPECT_EQ(map.stats().ranges, 1U);
}

TEST_F(MergeRuleTest, a_new_range_takes_the_right_neighbour_in) {
  insert(20, 25, 110);
  insert(10, 20, 100);
  expect(22, 10, 25, 100);
  EXPECT_EQ(map.stats().ranges, 1U);
}

TEST_F(MergeRuleTest, a_new_range_joins_both_neighbours) {
  insert(10, 20, 100);
  insert(30, 40, 120);
  EXPECT_EQ(map.stats().ranges, 2U);
  insert(20, 30, 110);
  expect(35, 10, 40, 100);
  EXPECT_EQ(map.stats().ranges, 1U);
}

TEST_F(MergeRuleTest, ranges_that_do_not_go_on_stay_apart) {
  insert(10, 20, 100);
  insert(20, 30, 111);
  expect(15, 10, 20, 100);
  expect(25, 20, 30, 111);
  EXPECT_EQ(map.write()->insert(range(15, 25), 1).error(), Error::exist);
}

TEST_F(MergeRuleTest, a_change_may_join_neighbours) {
  insert(10, 20, 100);
  insert(20, 30, 1);
  insert(30, 40, 120);
  ASSERT_TRUE(map.write()->change(Address{25}, 110));
  expect(35, 10, 40, 100);
  EXPECT_EQ(map.stats().ranges, 1U);
}

}  // namespace
}  // namespace pervma

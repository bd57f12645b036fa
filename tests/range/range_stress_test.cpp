// Many readers and a few writers. What a reader holds or copies is whole and stays: every value
// says which range it belongs to.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "pervma/range_map.h"

namespace pervma {
namespace {

constexpr uint64_t kStep = 100;
constexpr uint64_t kPlaces = 64;

// Right only for the range it was put into: end is the range's, check is made of both.
struct Stamp {
  uint64_t start;
  uint64_t end;
  uint64_t round;
  uint64_t check;

  static Stamp of(Range r, uint64_t round) noexcept {
    return {r.start.value, r.end.value, round, r.start.value * 31 + r.end.value * 17 + round};
  }
  bool fits(Range r) const noexcept {
    return start == r.start.value && end == r.end.value && check == of(r, round).check;
  }
};

struct RangeStressTest : ::testing::Test {
  using Map = RangeMap<Stamp>;
  static inline std::atomic<uint64_t> retired{0};
  Map map = make();
  std::atomic<uint64_t> wrong{0};
  std::atomic<uint64_t> held{0};
  std::atomic<bool> stop{false};
  uint64_t retirements = 0;

  static Map make() {
    retired = 0;
    RangeMapOptions<Stamp> options;
    options.on_retired = [](void*, Range r, const Stamp& stamp) noexcept {
      retired += stamp.fits(r) ? 1 : 1'000'000;
    };
    return Map::create(options).value();
  }

  void writer(uint32_t seed, int sections) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < sections; ++i) {
      auto w = map.write();
      ASSERT_TRUE(w);
      const uint64_t at = random() % kPlaces * kStep;
      const uint64_t round = random();
      const Range whole{Address{at}, Address{at + kStep}};
      const Range left{Address{at}, Address{at + kStep / 2}};
      const Range right{Address{at + kStep / 2}, Address{at + kStep}};
      switch (random() % 6) {
        case 0: ASSERT_TRUE(w->erase_in(whole)); break;
        case 1: retirements += w->retire_in(whole).value(); break;
        case 2: (void)w->insert(whole, Stamp::of(whole, round)); break;
        case 3:
          if (w->split(right.start, Stamp::of(right, round))) {
            ASSERT_TRUE(w->change(left.start, Stamp::of(left, round)));
          }
          break;
        case 4:
          if (w->merge(right.start)) {
            ASSERT_TRUE(w->change(whole.start, Stamp::of(whole, round)));
          }
          break;
        default: {
          const auto view = w->find(Address{at});
          if (view) {
            ASSERT_TRUE(w->change(Address{at}, Stamp::of(view->range, round)));
          }
        }
      }
    }
  }

  void look(const RangeGuard<Stamp>& guard) {
    const Range before = guard.range();
    if (!guard.value().fits(before)) ++wrong;
    if (guard.range() != before) ++wrong;
    ++held;
  }

  void reader(uint32_t seed) {
    std::mt19937_64 random(seed);
    while (!stop.load(std::memory_order_relaxed)) {
      const Address at{random() % (kPlaces * kStep)};
      switch (random() % 5) {
        case 0:
          if (const auto guard = map.find(at)) look(*guard);
          break;
        case 1: {
          const auto tried = map.try_find(at);
          if (tried.outcome == RangeTry::found) look(tried.guard);
          break;
        }
        case 2:
          if (const auto guard = map.find_next(at, Address{kPlaces * kStep})) {
            if (guard->range().end <= at) ++wrong;
            look(*guard);
          }
          break;
        case 3: {
          auto guard = map.find(at);
          if (!guard) break;
          auto hold = std::move(*guard).hand_over();
          if (!hold.value().fits(hold.range())) ++wrong;
          break;
        }
        default: {
          const auto entry = map.find_fast(at);
          if (entry && (!entry->range.contains(at) || !entry->value.fits(entry->range))) ++wrong;
        }
      }
    }
  }

  void run(int readers, int sections) {
    std::vector<std::thread> threads;
    threads.reserve(static_cast<size_t>(readers));
    for (int i = 0; i < readers; ++i) threads.emplace_back([this, i] { reader(100 + i); });
    writer(1, sections);
    stop = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0U);
    EXPECT_EQ(map.check(), "");
    EXPECT_EQ(retired, retirements);
    EXPECT_EQ(map.stats().retired, 0U);
  }
};

TEST_F(RangeStressTest, what_is_held_or_copied_is_whole_and_stays) { run(3, 3000); }
TEST_F(RangeStressTest, one_reader_beside_one_writer) { run(1, 3000); }

// The tree is made anew under the readers: what was there before is there all the time.
TEST_F(RangeStressTest, a_load_beside_readers_takes_nothing_from_them) {
  const auto place = [](uint64_t i) { return Range{Address{i * 10}, Address{i * 10 + 4}}; };
  const auto beside = [](uint64_t i) { return Range{Address{i * 10 + 5}, Address{i * 10 + 9}}; };
  for (uint64_t i = 0; i < 300; ++i)
    ASSERT_TRUE(map.write()->insert(place(i), Stamp::of(place(i), i)));
  std::vector<std::thread> readers;
  readers.reserve(2);
  for (uint32_t t = 0; t < 2; ++t) {
    readers.emplace_back([&, t] {
      std::mt19937_64 random(t);
      while (!stop.load(std::memory_order_relaxed)) {
        const Range r = place(random() % 300);
        const auto guard = map.find(r.start);
        if (!guard || guard->range() != r || !guard->value().fits(r)) ++wrong;
        const auto copy = map.try_find_fast(r.start);
        if (copy && !copy->value.fits(r)) ++wrong;
      }
    });
  }
  for (uint64_t round = 0; round < 60; ++round) {
    std::vector<Map::Entry> entries;
    for (uint64_t i = round % 3; i < 300; i += 3) {
      entries.push_back({beside(i), Stamp::of(beside(i), round)});
    }
    ASSERT_TRUE(map.write()->load(entries));
    for (const Map::Entry& e : entries) {
      const auto copy = map.find_fast(e.range.start);
      if (!copy || copy->range != e.range || !copy->value.fits(e.range)) ++wrong;
    }
    auto w = map.write();
    for (const Map::Entry& e : entries) ASSERT_TRUE(w->erase(e.range.start));
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(map.stats().ranges, 300U);
  EXPECT_EQ(map.check(), "");
}

// More memory comes and goes in a step than a cache keeps; who holds some of it frees it beside the
// writer.
TEST_F(RangeStressTest, ranges_leave_by_the_thousand_beside_readers) {
  constexpr uint64_t kRanges = 8000;
  const auto place = [](uint64_t i) { return Range{Address{i * 10}, Address{i * 10 + 4}}; };
  std::vector<std::thread> readers;
  readers.reserve(2);
  for (uint32_t t = 0; t < 2; ++t) {
    readers.emplace_back([&, t] {
      std::mt19937_64 random(t);
      while (!stop.load(std::memory_order_relaxed)) {
        const Range r = place(random() % kRanges);
        if (const auto tried = map.try_find(r.start); tried.outcome == RangeTry::found) {
          if (tried.guard.range() != r) ++wrong;
          look(tried.guard);
        }
        const auto copy = map.try_find_fast(r.start);
        if (copy && !copy->value.fits(r)) ++wrong;
      }
    });
  }
  std::vector<Map::Entry> entries;
  entries.reserve(kRanges);
  for (uint64_t i = 0; i < kRanges; ++i) entries.push_back({place(i), Stamp::of(place(i), i)});
  const Range all{Address{0}, Address{kRanges * 10}};
  for (int round = 0; round < 4; ++round) {
    ASSERT_TRUE(map.write()->load(entries));
    std::this_thread::yield();
    auto w = map.write();
    EXPECT_EQ((round % 2 == 0 ? w->retire_in(all) : w->erase_in(all)).value(), kRanges);
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(retired, 2 * kRanges);
  EXPECT_EQ(map.stats().retired, 0U);
  EXPECT_EQ(map.check(), "");
}

TEST_F(RangeStressTest, writers_take_turns) {
  std::vector<std::thread> threads;
  threads.reserve(3);
  for (uint64_t i = 0; i < 3; ++i) {
    threads.emplace_back([this, i] {
      for (uint64_t k = 0; k < 300; ++k) {
        const Range r{Address{(k * 3 + i) * 10}, Address{(k * 3 + i) * 10 + 10}};
        if (!map.write()->insert(r, Stamp::of(r, k))) ++wrong;
        if (k % 2 == 0 && !map.write()->erase(r.start)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(map.stats().ranges, 450U);
  EXPECT_EQ(map.check(), "");
}

}  // namespace
}  // namespace pervma

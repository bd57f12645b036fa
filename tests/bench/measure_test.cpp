// The instruments of the benchmarks: histogram, picker, clock, runner.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>

#include "bench/histogram.h"
#include "bench/picker.h"
#include "bench/runner.h"
#include "bench/subject.h"
#include "bench/tick_clock.h"

namespace pervma::bench {
namespace {

TEST(Histogram, small_values_are_exact_and_large_ones_within_two_percent) {
  for (uint64_t value : {0u, 1u, 127u, 128u, 129u, 1000u, 123456u, 4000000000u}) {
    Histogram h;
    h.add(value);
    h.add(~uint64_t{0});  // So that the largest value does not cut the bucket's middle.
    const auto exact = static_cast<double>(value);
    EXPECT_NEAR(h.at(0), exact, value < 128 ? 0 : exact * 0.016) << value;
  }
}

TEST(Histogram, percentiles_are_ranks_of_all_that_was_merged) {
  Histogram low;
  Histogram high;
  for (uint64_t i = 1; i <= 50; ++i) low.add(i);
  for (uint64_t i = 51; i <= 100; ++i) high.add(i);
  low.merge(high);
  EXPECT_EQ(low.count(), 100u);
  EXPECT_EQ(low.at(0.5), 50);
  EXPECT_EQ(low.at(0.99), 99);
  EXPECT_EQ(low.max(), 100u);
}

TEST(TickClock, agrees_with_the_steady_clock) {
  using Steady = std::chrono::steady_clock;
  const TickClock clock;
  // A thread that loses its CPU between two clocks makes them differ: the ticks are counted from
  // before 20 ms to after them, and all of it lies between two more looks at the other clock.
  const Steady::time_point before = Steady::now();
  const uint64_t begin = cpu_ticks_begin();
  const Steady::time_point from = Steady::now();
  while (Steady::now() - from < std::chrono::milliseconds(20)) continue;
  const uint64_t end = cpu_ticks_end();
  const std::chrono::duration<double, std::nano> around = Steady::now() - before;
  EXPECT_GT(clock.ns(end - begin), 20e6 * 0.95);
  EXPECT_LT(clock.ns(end - begin), around.count() * 1.05);
  EXPECT_EQ(clock.spent(7, 7), 0u);
}

TEST(Picker, stays_in_its_part_and_reaches_all_of_it) {
  for (unsigned part : {0u, 1u, 2u}) {
    Picker picker(30, part, 3, 1);
    std::set<uint64_t> seen;
    for (int i = 0; i < 1000; ++i) seen.insert(picker.next());
    EXPECT_EQ(seen.size(), 10u);
    EXPECT_EQ(*seen.begin(), part * 10u);
    EXPECT_EQ(*seen.rbegin(), part * 10u + 9);
  }
  EXPECT_EQ(Picker(1, 1, 2, 5).next(), 0u);
}

TEST(Picker, zipf_prefers_some_ranges_as_the_law_says) {
  const ZipfDraws zipf(1000);
  Picker picker(zipf, 0, 1);
  std::vector<unsigned> counts(1000);
  for (size_t i = 0; i < ZipfDraws::kDraws; ++i) ++counts.at(picker.next());
  std::ranges::sort(counts, std::greater{});
  // Of 1,000 ranges the first has 1/7.49 of the draws, and twice as many as the second.
  EXPECT_NEAR(counts[0], ZipfDraws::kDraws / 7.49, 400);
  EXPECT_NEAR(counts[1], ZipfDraws::kDraws / 14.97, 300);
}

TEST(Picker, zipf_strews_its_favourites) {
  const ZipfDraws zipf(1000);
  std::set<uint64_t> low;
  for (size_t i = 0; i < 4096; ++i) low.insert(zipf[i]);
  EXPECT_LT(*low.begin(), 100u);
  EXPECT_GT(*low.rbegin(), 900u);
}

RunOptions quick(uint32_t repeats) { return {.repeats = repeats, .seconds = 0.002}; }

Case counting(const char* subject, unsigned threads, std::vector<std::string>* log) {
  return {.scenario = "test",
          .variant = {},
          .subject = subject,
          .ranges = 3,
          .crews = {{.role = {},
                     .threads = threads,
                     .work = [](Worker& w) { w.run<8>([] { keep(0); }); }}},
          .before = [=] { log->emplace_back(subject); }};
}

TEST(Runner, cases_take_turns_and_each_begins_once) {
  std::vector<std::string> log;
  const BenchResult rows = run_cases({counting("a", 1, &log), counting("b", 2, &log)}, quick(2));
  ASSERT_TRUE(rows.has_value());
  EXPECT_THAT(log, ::testing::ElementsAre("a", "b", "b", "a"));
  ASSERT_EQ(rows->size(), 2u);
  for (const BenchRow& r : *rows) {
    EXPECT_EQ(r.repeats, 2u);
    EXPECT_GT(r.ops_per_s, 0);
    EXPECT_GE(r.spread_pct, 0);
    EXPECT_LE(r.ns_p50, r.ns_p99);
    EXPECT_LE(r.ns_p99, r.ns_p999);
    EXPECT_LE(r.ns_p999, r.ns_max);
  }
  EXPECT_EQ((*rows)[1].threads, 2u);
  EXPECT_NEAR((*rows)[1].ns_mean, 2e9 / (*rows)[1].ops_per_s, 1e-6);
}

TEST(Runner, counts_only_what_is_done_while_it_measures) {
  std::atomic<uint64_t> all{0};
  const Case slow{.scenario = "test",
                  .variant = {},
                  .subject = "slow",
                  .crews = {{.role = {}, .threads = 1, .work = [&](Worker& w) {
                               w.run<1>([&] {
                                 all.fetch_add(1);
                                 std::this_thread::sleep_for(std::chrono::milliseconds(1));
                               });
                             }}}};
  const BenchResult rows = run_cases({slow}, {.repeats = 1, .seconds = 0.04});
  ASSERT_TRUE(rows.has_value());
  // Of about 50 operations a fifth was warm-up; the clock saw a millisecond in each, to within what
  // the clocks differ and the histogram rounds.
  EXPECT_LT((*rows)[0].ops_per_s, 1000 * 1.05);
  EXPECT_GE((*rows)[0].ns_p50, 1e6 * 0.95);
}

TEST(Runner, work_that_is_done_once_is_not_waited_for) {
  unsigned calls = 0;
  const Case once{.scenario = "test",
                  .variant = {},
                  .subject = "once",
                  .crews = {{.role = {},
                             .threads = 1,
                             .work = [&](Worker& w) { w.run_once(10, [&] { ++calls; }); }}},
                  .extent = Extent::once};
  const auto from = std::chrono::steady_clock::now();
  const BenchResult rows = run_cases({once}, {.repeats = 3, .seconds = 3600});
  EXPECT_LT(std::chrono::steady_clock::now() - from, std::chrono::hours(1));
  ASSERT_TRUE(rows.has_value());
  EXPECT_EQ(calls, 3u);
  EXPECT_EQ((*rows)[0].repeats, 3u);
}

TEST(Runner, what_undoes_an_operation_is_not_measured) {
  int balance = 0;
  int most = 0;
  const Case undone{.scenario = "test",
                    .variant = {},
                    .subject = "undone",
                    .crews = {{.role = {}, .threads = 1, .work = [&](Worker& w) {
                                 w.run_undone(
                                     4, [&](unsigned) { most = std::max(most, ++balance); },
                                     [&](unsigned) {
                                       --balance;
                                       std::this_thread::sleep_for(std::chrono::milliseconds(1));
                                     });
                               }}}};
  // The median: in one of the repeats the thread may lose its CPU in the middle of what is
  // measured.
  const BenchResult rows = run_cases({undone}, quick(9));
  ASSERT_TRUE(rows.has_value());
  EXPECT_EQ(balance, 0);
  EXPECT_EQ(most, 4);
  EXPECT_GT((*rows)[0].ops_per_s, 2000);
}

TEST(Runner, a_call_may_do_several_operations) {
  const auto rate = [](uint64_t per_call) {
    const BenchResult rows = run_cases(
        {{.scenario = "test",
          .variant = {},
          .subject = "several",
          .crews = {{.role = {},
                     .threads = 1,
                     .work =
                         [=](Worker& w) {
                           w.run<1>(
                               [] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); },
                               per_call);
                         }}}}},
        quick(1));
    return rows ? (*rows)[0].ops_per_s : 0;
  };
  // A sleep of a millisecond may last longer on a busy machine, and not a thousand times as long.
  EXPECT_GT(rate(1'000'000), 1000 * rate(1));
}

TEST(Runner, roles_have_rows_of_their_own) {
  const auto idle = [](Worker& w) { w.run<1>([] { keep(0); }); };
  const BenchResult rows = run_cases({{.scenario = "test",
                                       .variant = "v",
                                       .subject = "s",
                                       .crews = {{.role = "reader", .threads = 2, .work = idle},
                                                 {.role = "writer", .threads = 1, .work = idle}}}},
                                     quick(1));
  ASSERT_TRUE(rows.has_value());
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_EQ((*rows)[0].role, "reader");
  EXPECT_EQ((*rows)[1].role, "writer");
}

// Finds the neighbour once in a while: whoever measures, for however short a time, makes 64 finds
// or four insertions at least.
struct Liar {
  uint64_t find(uint64_t address, unsigned) {
    const uint64_t start = address & ~kPageMask;
    return ++calls % 64 == 0 ? start + kPageSize : start;
  }
  bool insert(uint64_t, uint64_t) { return ++calls % 4 != 0; }
  bool erase(uint64_t, uint64_t) { return true; }
  uint64_t calls = 0;
};

TEST(Runner, one_wrong_answer_voids_the_benchmark) {
  SubjectOf<Liar> liar("liar");
  const Layout layout{.ranges = 10};
  const auto with = [&](std::function<void(Worker&)> work) {
    return run_cases({{.scenario = "test",
                       .variant = {},
                       .subject = liar.name(),
                       .crews = {{.role = {}, .threads = 1, .work = std::move(work)}}}},
                     quick(1));
  };
  const BenchResult reads = with([&](Worker& w) { liar.read(w, layout, Picker(10, 0, 1, 1)); });
  ASSERT_FALSE(reads.has_value());
  EXPECT_THAT(reads.error(), ::testing::HasSubstr("liar gave 1 wrong answers"));
  EXPECT_FALSE(with([&](Worker& w) { liar.read_one(w, layout, 3); }).has_value());
  EXPECT_FALSE(with([&](Worker& w) { liar.churn(w, layout, Churn::next_door); }).has_value());
}

}  // namespace
}  // namespace pervma::bench

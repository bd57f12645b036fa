// What the benchmarks measure: each subject does the work, and each scenario has its rows.
#include <gtest/gtest.h>

#include <algorithm>

#include "bench/churn.h"
#include "bench/hot.h"
#include "bench/lookup.h"
#include "bench/subjects.h"

namespace pervma::bench {
namespace {

BenchOptions tiny() {
  BenchOptions options;
  options.run = {.repeats = 1, .seconds = 0.002};
  options.peers = Peers::measured;
  options.ranges = {50};
  return options;
}

// What one find() of a subject answers: right or wrong.
bool finds(Subject& subject, const Layout& layout, uint64_t index) {
  const BenchResult rows =
      run_cases({{.scenario = "test",
                  .variant = {},
                  .subject = subject.name(),
                  .crews = {{.role = {},
                             .threads = 1,
                             .work = [&](Worker& w) { subject.read_one(w, layout, index); }}}}},
                {.repeats = 1, .seconds = 0.0005});
  return rows.has_value();
}

TEST(Subjects, hold_exactly_the_ranges_that_were_inserted) {
  const Layout layout{.ranges = 50};
  const std::vector<SubjectPtr> subjects = make_subjects(tiny(), layout);
  ASSERT_GT(subjects.size(), kDesigns.size());
  for (const SubjectPtr& s : subjects) {
    SCOPED_TRACE(s->name());
    const uint64_t start = layout.start(17);
    EXPECT_TRUE(finds(*s, layout, 17));
    EXPECT_FALSE(s->insert(start, start + kPageSize)) << "over another";
    EXPECT_FALSE(s->insert(start - kPageSize, start + kPageSize)) << "over a part of another";
    EXPECT_TRUE(s->erase(start, start + kPageSize));
    EXPECT_FALSE(finds(*s, layout, 17));
    EXPECT_TRUE(finds(*s, layout, 16));
    EXPECT_TRUE(finds(*s, layout, 18));
    EXPECT_TRUE(s->insert(start, start + kPageSize));
    EXPECT_TRUE(finds(*s, layout, 17));
    EXPECT_FALSE(finds(*s, Layout{.ranges = 50, .base = layout.base + kPageSize}, 17)) << "a gap";
  }
}

TEST(Subjects, adjacent_ranges_stay_apart) {
  const Layout layout{.ranges = 50, .spacing = Spacing::adjacent};
  for (const SubjectPtr& s : make_subjects(tiny(), layout)) {
    for (uint64_t i : {0u, 1u, 24u, 49u}) EXPECT_TRUE(finds(*s, layout, i)) << s->name() << i;
  }
}

TEST(Limits, the_walk_ends_at_every_range) {
  for (uint64_t ranges : {1u, 7u, 1000u, 20000u}) {
    const Layout layout{.ranges = ranges};
    const SubjectPtr walk = make_limit_walk(layout);
    ASSERT_NE(walk, nullptr);
    const auto work = [&](Worker& w) { walk->read(w, layout, Picker(ranges, 0, 1, 3)); };
    EXPECT_TRUE(run_cases({{.scenario = "test",
                            .variant = {},
                            .subject = "walk",
                            .crews = {{.role = {}, .threads = 1, .work = work}}}},
                          {.repeats = 1, .seconds = 0.01})
                    .has_value())
        << ranges;
    EXPECT_TRUE(finds(*walk, layout, 0));
    EXPECT_TRUE(finds(*walk, layout, ranges - 1));
  }
}

void expect_well_formed(const std::vector<BenchRow>& rows, const char* scenario) {
  for (const BenchRow& r : rows) {
    EXPECT_EQ(r.scenario, scenario);
    EXPECT_GT(r.ops_per_s, 0) << r.subject << ' ' << r.variant << ' ' << r.role;
  }
  ASSERT_GT(rows.size(), 3u);
  EXPECT_EQ(rows[0].subject, "limit:pair");
  EXPECT_EQ(rows[1].subject, "limit:pair-shared");
  EXPECT_EQ(rows[1].threads, 2u);
  EXPECT_EQ(rows[2].subject, "limit:rcu");
}

TEST(Lookup, has_a_row_per_subject_size_pick_and_thread_count) {
  BenchOptions options = tiny();
  options.peers = Peers::left_out;
  options.ranges = {50, 70};
  options.picks = {Pick::uniform, Pick::zipf, Pick::distinct};
  const BenchResult rows = bench_lookup(options);
  ASSERT_TRUE(rows.has_value()) << rows.error();
  expect_well_formed(*rows, "lookup");
  EXPECT_EQ(rows->size(), 3 + 2 * 3 * 2 * (kDesigns.size() + 1));
  EXPECT_EQ((*rows)[3].subject, "limit:walk");
}

TEST(Churn, has_rows_of_readers_and_of_the_writer_in_three_variants) {
  BenchOptions options = tiny();
  options.threads = {1};
  const BenchResult rows = bench_churn(options);
  ASSERT_TRUE(rows.has_value()) << rows.error();
  expect_well_formed(*rows, "churn");
  const auto count = [&](const char* variant, const char* role) {
    return std::ranges::count_if(*rows, [&](const BenchRow& r) {
      return r.variant == variant && r.role == role && r.subject == "refcount";
    });
  };
  EXPECT_EQ(count("quiet", "reader"), 1);
  EXPECT_EQ(count("quiet", "writer"), 0);
  for (const char* variant : {"elsewhere", "next-door"}) {
    EXPECT_EQ(count(variant, "reader"), 1);
    EXPECT_EQ(count(variant, "writer"), 1);
  }
}

TEST(Hot, has_every_design_with_one_thread_and_two) {
  BenchOptions options = tiny();
  options.peers = Peers::left_out;
  const BenchResult rows = bench_hot(options);
  ASSERT_TRUE(rows.has_value()) << rows.error();
  expect_well_formed(*rows, "hot");
  EXPECT_EQ(rows->size(), 3 + 2 * kDesigns.size());
}

TEST(Scenarios, measure_the_designs_that_were_asked_for) {
  BenchOptions options = tiny();
  options.peers = Peers::left_out;
  options.designs = {Design::refcount};
  options.threads = {1};
  const BenchResult rows = bench_hot(options);
  ASSERT_TRUE(rows.has_value());
  EXPECT_EQ(rows->size(), 4u);
  EXPECT_EQ(rows->back().subject, "refcount");
}

}  // namespace
}  // namespace pervma::bench

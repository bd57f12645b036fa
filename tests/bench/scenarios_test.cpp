// What the benchmarks measure: each subject does the work, and each scenario has its rows.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>

#include "bench/churn.h"
#include "bench/faults.h"
#include "bench/fork.h"
#include "bench/free.h"
#include "bench/hot.h"
#include "bench/kernel_area.h"
#include "bench/lookup.h"
#include "bench/memory.h"
#include "bench/spike.h"
#include "bench/subjects.h"
#include "bench/swap.h"
#include "bench/syscalls.h"
#include "bench/tree.h"
#include "bench/zerocopy.h"

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
  EXPECT_EQ(rows->size(), 3 + 2 * 3 * 2 * (kDesigns.size() + 3));
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
  EXPECT_EQ(rows->size(), 3 + 2 * (kDesigns.size() + 2) + 2 * kDesigns.size());
}

TEST(Hot, has_a_writer_under_a_storm_of_readers_in_every_design) {
  BenchOptions options = tiny();
  options.peers = Peers::left_out;
  options.threads = {2};
  const BenchResult rows = bench_hot(options);
  ASSERT_TRUE(rows.has_value()) << rows.error();
  for (const Design d : kDesigns) {
    for (const char* role : {"reader", "writer"}) {
      EXPECT_EQ(std::ranges::count_if(*rows,
                                      [&](const BenchRow& r) {
                                        return r.variant == "storm" && r.role == role &&
                                               r.subject == design_name(d) && r.threads == 1;
                                      }),
                1)
          << design_name(d) << ' ' << role;
    }
  }
}

uint64_t count_rows(const std::vector<BenchRow>& rows, const char* variant, const char* subject) {
  return std::ranges::count_if(
      rows, [&](const BenchRow& r) { return r.variant == variant && r.subject == subject; });
}

TEST(Spike, has_every_design_by_threads) {
  BenchOptions options = tiny();
  options.threads = {1, 3};
  const BenchResult rows = bench_spike(options);
  ASSERT_TRUE(rows.has_value()) << rows.error();
  expect_well_formed(*rows, "spike");
  EXPECT_EQ(rows->size(), 3 + 2 * kDesigns.size());
}

TEST(Tree, has_the_tree_alone_and_changes_of_every_subject) {
  const BenchResult rows = bench_tree(tiny());
  ASSERT_TRUE(rows.has_value()) << rows.error();
  expect_well_formed(*rows, "tree");
  for (const char* variant : {"store", "erase", "gap-near", "gap-far", "insert-erase"}) {
    EXPECT_EQ(count_rows(*rows, variant, "maple"), 1u) << variant;
  }
  EXPECT_EQ(count_rows(*rows, "walk", "maple"), 2u);
  EXPECT_EQ(count_rows(*rows, "walk", "limit:walk"), 2u);
  EXPECT_EQ(count_rows(*rows, "insert-erase", "refcount"), 1u);
  EXPECT_EQ(count_rows(*rows, "insert-erase-64", "rangemap"), 1u);
  EXPECT_EQ(count_rows(*rows, "insert-erase-64", "std::map+shared_mutex"), 1u);
}

TEST(Tree, works_with_fewer_ranges_than_one_section_changes) {
  BenchOptions options = tiny();
  options.ranges = {1, 3};
  EXPECT_TRUE(bench_tree(options).has_value());
}

TEST(Memory, counts_what_a_range_of_a_design_takes_at_least) {
  BenchOptions options = tiny();
  options.peers = Peers::left_out;
  options.ranges = {20000};
  const BenchResult rows = bench_memory(options);
  ASSERT_TRUE(rows.has_value()) << rows.error();
  EXPECT_EQ(rows->size() % 2, 0u);
  for (const char* variant : {"adjacent", "gaps"}) {
    for (const Design d : kDesigns) {
      EXPECT_EQ(count_rows(*rows, variant, std::string(design_name(d)).c_str()), 1u);
    }
  }
  for (const BenchRow& r : *rows) {
    EXPECT_EQ(r.scenario, "memory");
    if (!design_from_name(r.subject)) continue;
    // A VMA has 128 bytes and a place in a leaf of 256 that holds 16 at most. There is no telling
    // how much at most: nodes that wait for the end of a grace period count too, and that is a
    // matter of how busy the machine is.
    EXPECT_GT(r.bytes, 128 + 16) << r.subject;
  }
}

TEST(Free, has_munmap_and_exit_of_every_design) {
  BenchOptions options = tiny();
  options.ranges = {300};
  options.run.repeats = 2;
  const BenchResult rows = bench_free(options);
  ASSERT_TRUE(rows.has_value()) << rows.error();
  expect_well_formed(*rows, "free");
  for (const char* variant : {"pages", "pages-held-for-write"}) {
    for (const Design d : kDesigns) {
      EXPECT_EQ(count_rows(*rows, variant, std::string(design_name(d)).c_str()), 1u);
    }
  }
  for (const char* variant : {"munmap", "munmap-settled", "exit", "exit-settled"}) {
    for (const Design d : kDesigns) {
      EXPECT_EQ(count_rows(*rows, variant, std::string(design_name(d)).c_str()), 1u);
    }
    for (const char* way : {"rwsem:rcu", "rwsem:rcu_batched", "count:rcu", "count:rcu_batched"}) {
      EXPECT_EQ(count_rows(*rows, variant, way), 1u) << way;
    }
  }
}

TEST(Scenarios, measure_the_designs_that_were_asked_for) {
  BenchOptions options = tiny();
  options.peers = Peers::left_out;
  options.designs = {Design::refcount};
  options.threads = {1};
  const BenchResult rows = bench_hot(options);
  ASSERT_TRUE(rows.has_value());
  ASSERT_EQ(rows->size(), 6u);
  EXPECT_EQ((*rows)[3].subject, "refcount");
  EXPECT_EQ((*rows)[4].subject, "rangemap");
  EXPECT_EQ((*rows)[5].subject, "rangemap:find_fast");
}

TEST(KernelArea, stays_free_of_what_others_map_and_holds_what_is_mapped_in_it) {
  constexpr uint64_t kBytes = 16 * kPageSize;
  KernelArea area(kBytes);
  ASSERT_TRUE(area);
  ASSERT_TRUE(area.map(4 * kPageSize, kPageSize));
  EXPECT_FALSE(area.map(3 * kPageSize, 2 * kPageSize)) << "over what is there";
  std::vector<std::pair<uint64_t, uint64_t>> others;
  for (const uint64_t bytes : {kPageSize, 2 * kPageSize, 11 * kPageSize, kBytes}) {
    for (int i = 0; i < 100; ++i) {
      void* const other = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      ASSERT_NE(other, MAP_FAILED);
      const uint64_t a = reinterpret_cast<uint64_t>(other);
      EXPECT_TRUE(a + bytes <= area.start() || a >= area.start() + kBytes) << bytes << ' ' << i;
      others.push_back({a, bytes});
    }
  }
  for (const auto& [a, bytes] : others) munmap(KernelArea::pointer(a), bytes);
  KernelArea::write(area.start() + 4 * kPageSize);
  EXPECT_EQ(KernelArea::read(area.start() + 4 * kPageSize), 1);
}

TEST(Syscalls, every_design_stands_beside_the_kernel) {
  const BenchResult rows = bench_syscalls(tiny());
  ASSERT_TRUE(rows) << rows.error();
  const auto has = [&](std::string_view subject, std::string_view variant) {
    return std::ranges::any_of(*rows, [&](const BenchRow& r) {
      return r.scenario == "syscalls" && r.subject == subject && r.variant == variant &&
             r.ops_per_s > 0 && r.ranges == 50;
    });
  };
  for (const char* variant : {"map+unmap", "protect", "dontneed", "remap"}) {
    EXPECT_TRUE(has("kernel", variant)) << variant;
    for (const Design d : kDesigns) EXPECT_TRUE(has(design_name(d), variant)) << variant;
  }
}

TEST(Faults, every_design_stands_beside_the_kernel) {
  BenchOptions options = tiny();
  options.peers = Peers::measured;
  options.threads = {1, 2};
  const BenchResult rows = bench_faults(options);
  ASSERT_TRUE(rows) << rows.error();
  expect_well_formed(*rows, "faults");
  for (const char* variant : {"anon-write", "anon-read", "write-after-read", "write-and-drop"}) {
    EXPECT_EQ(count_rows(*rows, variant, "kernel"), 2u);
    for (const Design d : kDesigns) {
      EXPECT_EQ(count_rows(*rows, variant, std::string(design_name(d)).c_str()), 2u);
    }
  }
  for (const char* variant : {"collapse", "write-to-huge"}) {
    EXPECT_EQ(count_rows(*rows, variant, "refcount"), 2u);
  }
}

TEST(Fork, every_design_stands_beside_the_kernel) {
  BenchOptions options = tiny();
  options.peers = Peers::measured;
  options.run.repeats = 2;
  const BenchResult rows = bench_fork(options);
  ASSERT_TRUE(rows) << rows.error();
  expect_well_formed(*rows, "fork");
  EXPECT_EQ(count_rows(*rows, "", "kernel"), 1u);
  EXPECT_EQ(rows->size(), kDesigns.size() + 4);
}

TEST(Swap, has_every_store_under_the_designs_that_were_asked_for) {
  BenchOptions options = tiny();
  options.ranges = {600};
  options.threads = {2};
  options.designs = {Design::refcount, Design::mmap_lock};
  const BenchResult rows = bench_swap(options);
  ASSERT_TRUE(rows) << rows.error();
  expect_well_formed(*rows, "swap");
  for (const char* variant : {"lz4", "zstd", "file"}) {
    EXPECT_EQ(count_rows(*rows, variant, "refcount"), 1u);
    EXPECT_EQ(count_rows(*rows, variant, "mmap_lock"), 1u);
  }
}

TEST(Zerocopy, has_receivers_and_an_adviser_under_every_design) {
  BenchOptions options = tiny();
  options.threads = {3};
  const BenchResult rows = bench_zerocopy(options);
  ASSERT_TRUE(rows) << rows.error();
  expect_well_formed(*rows, "zerocopy");
  for (const Design d : kDesigns) {
    for (const char* role : {"receiver", "adviser"}) {
      EXPECT_TRUE(std::ranges::any_of(*rows, [&](const BenchRow& r) {
        return r.subject == design_name(d) && r.role == role &&
               r.threads == (r.role == "receiver" ? 2u : 1u);
      })) << role;
    }
  }
}

}  // namespace
}  // namespace pervma::bench

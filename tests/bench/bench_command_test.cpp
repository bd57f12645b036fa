// `pervma bench` as a user meets it.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "bench/machine.h"
#include "support/command.h"

namespace pervma::bench {
namespace {

using test::CommandOutcome;
using test::expect_refused;
using test::run_pervma;
using test::slurp;
using test::temp_path;

const std::string kTiny = " --ranges 50 --threads 1 --repeats 1 --seconds 0.001 ";

TEST(BenchCommand, each_benchmark_has_help_with_an_example) {
  for (const char* name : {"lookup", "churn", "hot", "spike", "tree", "memory", "free", "faults",
                           "fork", "swap", "zerocopy", "machine"}) {
    const CommandOutcome o = run_pervma("bench " + std::string(name) + " --help");
    EXPECT_EQ(o.status, 0);
    EXPECT_NE(o.out.find("Example"), std::string::npos) << name;
  }
}

TEST(BenchCommand, rows_have_every_key_and_the_limits_come_first) {
  const std::string path = temp_path("lookup.json");
  const CommandOutcome o =
      run_pervma("bench lookup --pick uniform,zipf" + kTiny + "--json " + path);
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_NE(o.out.find("limit:pair"), std::string::npos) << o.out;
  EXPECT_NE(o.out.find("cores: "), std::string::npos) << o.out;
  const auto rows = nlohmann::json::parse(slurp(path));
  ::unlink(path.c_str());
  EXPECT_EQ(rows.at(0).at("subject"), "limit:pair");
  EXPECT_EQ(rows.at(3).at("subject"), "limit:walk");
  for (const auto& row : rows) {
    for (const char* key : {"scenario", "variant", "subject", "role", "ranges", "threads",
                            "ops_per_s", "ns", "bytes", "repeats", "spread_pct", "machine"}) {
      EXPECT_TRUE(row.contains(key)) << key;
    }
    for (const char* key : {"mean", "p50", "p99", "p999", "max"}) {
      EXPECT_TRUE(row.at("ns").at(key).is_number()) << key;
    }
    EXPECT_GT(row.at("ops_per_s").get<double>(), 0);
  }
}

TEST(BenchCommand, json_on_standard_output_is_json_alone) {
  const CommandOutcome o = run_pervma("bench hot --design refcount" + kTiny + "--json -");
  EXPECT_EQ(o.status, 0) << o.err;
  const auto rows = nlohmann::json::parse(o.out);
  EXPECT_EQ(rows.size(), 6u);
  EXPECT_EQ(rows.at(3).at("subject"), "refcount");
}

TEST(BenchCommand, memory_rows_have_bytes) {
  const CommandOutcome o = run_pervma("bench memory --design refcount --ranges 20000 --json -");
  EXPECT_EQ(o.status, 0) << o.err;
  for (const auto& row : nlohmann::json::parse(o.out)) {
    EXPECT_GT(row.at("bytes").get<double>(), row.at("subject") == "refcount" ? 128 : 0);
  }
}

TEST(BenchCommand, compares_with_an_earlier_run) {
  const std::string path = temp_path("old.json");
  ASSERT_EQ(run_pervma("bench hot --design refcount" + kTiny + "--json " + path).status, 0);
  const CommandOutcome o =
      run_pervma("bench hot --design refcount,mmap_lock" + kTiny + "--compare " + path);
  ::unlink(path.c_str());
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_NE(o.out.find("ops/s before"), std::string::npos) << o.out;
  EXPECT_NE(o.out.find("1 rows were not measured before"), std::string::npos) << o.out;
}

TEST(BenchCommand, refuses_bad_input_in_one_line) {
  const std::string path = temp_path("bad.json");
  std::ofstream(path) << "{\"rows\": 3}";
  expect_refused(run_pervma("bench hot --compare " + path), "not the JSON of pervma bench");
  std::ofstream(path) << "[]";
  expect_refused(run_pervma("bench hot --compare " + path), "has no rows");
  ::unlink(path.c_str());
  expect_refused(run_pervma("bench hot --compare /no/such/file"), "cannot be read");
  expect_refused(run_pervma("bench hot --json /no/such/folder/x"), "cannot be written");
  expect_refused(run_pervma("bench hot --seconds nan"), "--seconds");
  expect_refused(run_pervma("bench hot --seed -1"), "--seed");
  expect_refused(run_pervma("bench lookup --pick best"), "uniform, zipf, distinct");
  expect_refused(run_pervma("bench zerocopy --threads 1"), "--threads");
  expect_refused(run_pervma("bench hot --design tape"), "there is no design 'tape'");
  expect_refused(run_pervma("bench hot --threads 0"), "--threads");
  expect_refused(run_pervma("bench hot --ranges 0"), "--ranges");
  expect_refused(run_pervma("bench hot --seconds 0"), "--seconds");
  expect_refused(run_pervma("bench lookup --pick dice"), "--pick");
  expect_refused(run_pervma("bench"), "subcommand");
}

TEST(BenchCommand, machine_is_described) {
  const CommandOutcome o = run_pervma("bench machine --json -");
  const auto machine = nlohmann::json::parse(o.out);
  for (const char* key : {"processor", "cpus", "caches", "memory", "kernel", "compiler", "slug"}) {
    EXPECT_TRUE(machine.contains(key)) << key;
  }
  EXPECT_NE(run_pervma("bench machine").out.find("processor: "), std::string::npos);
}

TEST(CoreWatch, sees_its_own_work_as_its_own) {
  const CoreWatch watch;
  EXPECT_GE(watch.taken_by_others(), 0);
}

}  // namespace
}  // namespace pervma::bench

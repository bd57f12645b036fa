// Recordings of the kernel's answers: the reader, the comparison, and the directed scenarios under
// every design.
#include <gtest/gtest.h>

#include <string>

#include "trace/oracle_run.h"

namespace pervma::trace {
namespace {

constexpr const char* kStart =
    "# pervma-oracle 1\n"
    "H seed=0 window_pages=65536 brk=-1 memlock=-1 profile=directed dump_every=1\n"
    "F A 64+0 11\nF B 20+291 83\n";

std::string error_of(const std::string& text) {
  const TraceResult<OracleRecording> r = parse_oracle_recording("t", text);
  return r ? "" : r.error().to_string();
}

OracleOutcome run(const std::string& lines, Design design = Design::refcount) {
  TraceResult<OracleRecording> r = parse_oracle_recording("t", kStart + lines);
  EXPECT_TRUE(r) << r.error().to_string();
  Result<OracleRunner> runner = OracleRunner::create(design);
  EXPECT_TRUE(runner);
  Result<OracleOutcome> outcome = runner->run(*r);
  EXPECT_TRUE(outcome);
  return std::move(*outcome);
}

TEST(OracleReader, bad_input_is_named_by_file_and_line) {
  const std::string start = kStart;
  EXPECT_EQ(error_of("# pervma-oracle 2\n"), "t:1: not a recording of the format pervma-oracle 1");
  EXPECT_EQ(error_of(start), "t:4: truncated: there is no E line");
  EXPECT_NE(error_of(start + "O 0 fly 1 2 -> 0\nE 1\n").find("t:5: an operation that is not known"),
            std::string::npos);
  EXPECT_NE(error_of(start + "O 1 munlockall -> 0\n").find("an operation is missing"),
            std::string::npos);
  EXPECT_NE(error_of(start + "O 0 munmap 1 2 -> -EWHAT\n").find("an unknown errno"),
            std::string::npos);
  EXPECT_NE(error_of(start + "O 0 munmap 1 2 -> 0\nE 2\n").find("t:6:"), std::string::npos);
  EXPECT_NE(error_of(start + "O 0 munmap 1 2 -> 0\nD 1\nE 1\n").find("a dump is cut short"),
            std::string::npos);
  EXPECT_NE(error_of(start + "O 0 mprotect 1 2 rq- -> 0\nE 1\n").find("not a protection"),
            std::string::npos);
  EXPECT_NE(error_of(start + "O 0 munmap 1 2 -> 0\n+ 1-2 rw-p - anon rd.zz\nE 1\n")
                .find("an unknown VMA flag"),
            std::string::npos);
}

TEST(OracleReader, a_folder_without_recordings_is_an_error) {
  EXPECT_FALSE(find_oracle_recordings({PERVMA_TEST_DATA "/data"}));
}

TEST(OracleRun, an_answer_that_differs_is_reported_with_both_maps) {
  const OracleOutcome outcome = run(
      "O 0 mmap 100 4 rw- priv,anon,fixed - 0 -> @100\n+ 100-104 rw-p - anon rd.wr.mr.mw.me.ac\n"
      "O 1 munmap 100 1 -> -EPERM\nE 2\n");
  ASSERT_TRUE(outcome.mismatch);
  EXPECT_EQ(outcome.operations, 2u);
  EXPECT_EQ(outcome.mismatch->line, 7u);
  EXPECT_EQ(outcome.mismatch->what, "pervma answered 0");
  EXPECT_EQ(outcome.mismatch->linux_map,
            std::vector<std::string>{"100-104 rw-p - anon rd.wr.mr.mw.me.ac"});
  EXPECT_EQ(outcome.mismatch->pervma_map,
            std::vector<std::string>{"101-104 rw-p - anon rd.wr.mr.mw.me.ac"});
}

TEST(OracleRun, a_map_that_differs_is_reported) {
  const OracleOutcome flags =
      run("O 0 mmap 100 4 rw- priv,anon,fixed - 0 -> @100\n+ 100-104 rw-p - anon rd.wr.mr.mw.me\nE "
          "1\n");
  ASSERT_TRUE(flags.mismatch);
  EXPECT_EQ(flags.mismatch->what, "the maps differ");
  const OracleOutcome missing = run("O 0 mmap 100 4 rw- priv,anon,fixed - 0 -> @100\nE 1\n");
  EXPECT_TRUE(missing.mismatch);
  const OracleOutcome list = run(
      "O 0 mmap 100 4 rw- priv,anon,fixed - 0 -> @100\n+ 100-104 rw-p - anon rd.wr.mr.mw.me.ac\n"
      "D 0\nE 1\n");
  EXPECT_TRUE(list.mismatch);
}

class OracleScenarios : public ::testing::TestWithParam<Design> {};

// Whose answer names what lies outside of the window.
bool needs_what_is_outside(const std::string& file) {
  return file.find("/hint_below_the_lowest_address.") != std::string::npos;
}

void expect_agreement(Design design, const ReplicaOptions& options) {
  const auto files = find_oracle_recordings({PERVMA_TEST_DATA "/oracle"});
  ASSERT_TRUE(files) << files.error().to_string();
  EXPECT_GE(files->size(), 100u);
  Result<OracleRunner> runner = OracleRunner::create(design, options);
  ASSERT_TRUE(runner);
  for (const std::string& file : *files) {
    SCOPED_TRACE(file);
    const TraceResult<OracleRecording> recording = read_oracle_recording(file);
    ASSERT_TRUE(recording) << recording.error().to_string();
    const Result<OracleOutcome> outcome = runner->run(*recording);
    ASSERT_TRUE(outcome);
    if (options.bare && needs_what_is_outside(file)) {
      EXPECT_TRUE(outcome->mismatch);
      continue;
    }
    EXPECT_EQ(outcome->operations, recording->ops.size());
    EXPECT_FALSE(outcome->mismatch)
        << outcome->mismatch->line << ": " << outcome->mismatch->operation << ": "
        << outcome->mismatch->what;
  }
}

TEST_P(OracleScenarios, every_directed_scenario_agrees_with_linux) {
  expect_agreement(GetParam(), {});
}

TEST_P(OracleScenarios, they_agree_in_a_space_that_ends_where_the_window_does) {
  expect_agreement(GetParam(), {.bare = true});
}

TEST_P(OracleScenarios, they_agree_when_every_call_is_first_made_with_a_stop_requested) {
  expect_agreement(GetParam(), {.stopped = true});
}

INSTANTIATE_TEST_SUITE_P(Designs, OracleScenarios, ::testing::ValuesIn(kDesigns),
                         [](const auto& d) { return std::string(design_name(d.param)); });

}  // namespace
}  // namespace pervma::trace

// A slice of the live comparison: a few random sequences on the kernel that the tests run on, under
// every design. Skipped, with the reason, where the kernel does not let itself be asked.
#include <gtest/gtest.h>

#include <string>

#include "trace/linux_versions.h"
#include "trace/oracle_recorder.h"
#include "trace/oracle_run.h"

namespace pervma::trace {
namespace {

// Nothing: not to be had here; says why.
std::optional<OracleRecording> recording_of(const Result<LiveRecording>& live, std::string& why) {
  if (!live) {
    why = live.error() == Error::perm
              ? "a process may not arrange its address space for the comparison here"
              : "the recording process failed";
    return std::nullopt;
  }
  TraceResult<OracleRecording> r = parse_oracle_recording("live", live->text);
  EXPECT_TRUE(r) << r.error().to_string();
  if (!r) return std::nullopt;
  if (linux_version(r->kernel) != kComparedLinux) {
    why = "this is Linux " + r->kernel + ", whose answers may differ (docs/linux-versions.md)";
    return std::nullopt;
  }
  return std::move(*r);
}

class OracleLive : public ::testing::TestWithParam<Design> {};

void agrees_with_the_running_kernel(Design design, OracleShape shape, uint64_t first,
                                    uint64_t last) {
  Result<OracleRunner> runner = OracleRunner::create(design);
  ASSERT_TRUE(runner);
  for (uint64_t seed = first; seed <= last; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::string why;
    const auto r = recording_of(record_live({.seed = seed, .ops = 150, .shape = shape}), why);
    if (!r) {
      ASSERT_FALSE(why.empty());
      GTEST_SKIP() << why;
    }
    const Result<OracleOutcome> outcome = runner->run(*r);
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->operations, 150u);
    EXPECT_FALSE(outcome->mismatch)
        << outcome->mismatch->line << ": " << outcome->mismatch->operation << ": "
        << outcome->mismatch->what;
  }
}

TEST_P(OracleLive, random_sequences_agree_with_the_running_kernel) {
  agrees_with_the_running_kernel(GetParam(), OracleShape::mixed, 9001, 9012);
}

TEST_P(OracleLive, rare_operations_agree_with_the_running_kernel) {
  agrees_with_the_running_kernel(GetParam(), OracleShape::wide, 1, 4);
}

TEST_P(OracleLive, operations_of_a_userfaultfd_agree_with_the_running_kernel) {
  agrees_with_the_running_kernel(GetParam(), OracleShape::user_faults, 1, 6);
}

INSTANTIATE_TEST_SUITE_P(Designs, OracleLive, ::testing::ValuesIn(kDesigns),
                         [](const auto& d) { return std::string(design_name(d.param)); });

TEST(OracleRecorder, a_scenario_is_recorded_again_as_it_was) {
  for (const char* name : {"merge_both", "mremap_several_vmas_with_hole", "mlock_limit",
                           "madvise_guard_install", "fork_blocks_anon_vma_merge"}) {
    const auto given =
        read_oracle_recording(PERVMA_TEST_DATA "/oracle/" + std::string(name) + ".trace");
    ASSERT_TRUE(given) << given.error().to_string();
    const std::vector<OracleOperation> operations(given->ops.begin(), given->ops.end());
    std::string why;
    const auto again = recording_of(record_operations(given->setup, operations), why);
    if (!again) {
      ASSERT_FALSE(why.empty());
      GTEST_SKIP() << why;
    }
    ASSERT_EQ(again->ops.size(), given->ops.size());
    for (size_t i = 0; i < given->ops.size(); ++i) {
      EXPECT_EQ(again->text_of(again->ops[i]), given->text_of(given->ops[i])) << name;
    }
  }
}

TEST(OracleRecorder, what_could_reach_outside_of_the_window_is_refused) {
  const auto over = [](OracleCall call, Address start, uint64_t length, uint32_t flags = 0) {
    return OracleOperation{.call = call, .flags = flags, .address = start, .length = length};
  };
  const Address end = kOracleWindow + PageCount{kOracleWindowPages};
  EXPECT_FALSE(is_safe_to_record(over(OracleCall::munmap, end, kPageSize)));
  EXPECT_FALSE(is_safe_to_record(over(OracleCall::munmap, end - kPageSize, 2 * kPageSize)));
  EXPECT_FALSE(is_safe_to_record(over(OracleCall::madvise, Address{0}, uint64_t{1} << 63)));
  EXPECT_FALSE(is_safe_to_record(over(OracleCall::mmap, Address{0}, kPageSize, 0x32)));
  EXPECT_FALSE(is_safe_to_record(over(OracleCall::mlockall, {}, 0, 1)));
  EXPECT_FALSE(is_safe_to_record(over(OracleCall::write, end, 0)));
  EXPECT_TRUE(is_safe_to_record(over(OracleCall::munmap, end - kPageSize, kPageSize)));
  EXPECT_TRUE(is_safe_to_record(over(OracleCall::munmap, kOracleWindow, ~uint64_t{0})));
  OracleOperation poison = over(OracleCall::madvise, kOracleWindow, kPageSize);
  poison.advice = 100;
  EXPECT_FALSE(is_safe_to_record(poison));
  EXPECT_EQ(record_operations({}, std::vector{poison}).error(), Error::opnotsupp);
}

}  // namespace
}  // namespace pervma::trace

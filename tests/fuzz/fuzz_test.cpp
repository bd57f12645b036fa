// The fuzzer's corpus, and bounded random programs, in every build: check() after each operation,
// an allocation that fails in every third.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "fuzz/program.h"
#include "trace/oracle_generator.h"
#include "trace/oracle_recording.h"

namespace pervma::test {
namespace {

TEST(OperationFuzz, every_input_of_the_corpus_runs_whole) {
  ProgramRunner runner;
  size_t inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(PERVMA_TEST_DATA "/corpus")) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
    const Program program = Program::from_bytes(bytes);
    EXPECT_EQ(runner.run(program), "") << entry.path() << "\n" << program.scenario();
    ++inputs;
  }
  EXPECT_EQ(runner.leaks(), "");
  EXPECT_GE(inputs, 8u);
}

TEST(OperationFuzz, a_program_prints_itself_as_a_scenario) {
  std::mt19937 random(7);
  for (int i = 0; i < 200; ++i) {
    std::vector<uint8_t> bytes(random() % 400);
    std::ranges::generate(bytes, [&] { return static_cast<uint8_t>(random()); });
    const Program program = Program::from_bytes(bytes);
    const auto read = trace::parse_oracle_recording("program", program.scenario());
    ASSERT_TRUE(read) << read.error().to_string();
    ASSERT_EQ(read->ops.size(), program.steps.size());
    EXPECT_EQ(read->setup, program.setup);
    for (size_t k = 0; k < read->ops.size(); ++k) {
      EXPECT_EQ(static_cast<const trace::OracleOperation&>(read->ops[k]),
                program.steps[k].operation)
          << text_of(program.steps[k].operation).view();
    }
  }
}

class OperationFuzzUnder : public ::testing::TestWithParam<Design> {};

TEST_P(OperationFuzzUnder, random_bytes_run_whole) {
  ProgramRunner runner;
  std::mt19937 random(11);
  for (int i = 0; i < 120; ++i) {
    std::vector<uint8_t> bytes(2 + random() % 700);
    std::ranges::generate(bytes, [&] { return static_cast<uint8_t>(random()); });
    Program program = Program::from_bytes(bytes);
    program.design = GetParam();
    ASSERT_EQ(runner.run(program), "") << program.scenario();
  }
  EXPECT_EQ(runner.leaks(), "");
}

// Sequences as the live comparison has them, clustered: what random bytes seldom make.
TEST_P(OperationFuzzUnder, clustered_operations_with_failing_allocations_run_whole) {
  ProgramRunner runner;
  Result<std::unique_ptr<Engine>> engine = Engine::create({.frames = {uint64_t{1} << 16}});
  ASSERT_TRUE(engine);
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    Program program{.design = GetParam(), .setup = {.brk = 100, .memlock = -1}, .steps = {}};
    trace::OracleGenerator generator(seed, {.ops = 150});
    Result<trace::OracleReplica> replica =
        trace::OracleReplica::create(**engine, GetParam(), program.setup, trace::oracle_files());
    ASSERT_TRUE(replica);
    for (int i = 0; i < 150; ++i) {
      std::vector<Range> ranges;
      for (const VmaInfo& v : replica->space().vmas_in(
               {trace::kOracleWindow,
                trace::kOracleWindow + PageCount{trace::kOracleWindowPages}})) {
        ranges.push_back(v.range);
      }
      Step step{.operation =
                    generator.next({.vmas = ranges, .brk = replica->space().brk(Address{0})})};
      if (generator.chance(33)) {
        step.fails_after = static_cast<uint32_t>(generator.below(14));
        step.lasts = generator.chance(50) ? FailureLasts::on : FailureLasts::once;
      }
      (void)replica->execute(step.operation);
      program.steps.push_back(step);
    }
    ASSERT_EQ(runner.run(program), "") << program.scenario();
  }
  EXPECT_EQ(runner.leaks(), "");
}

INSTANTIATE_TEST_SUITE_P(Designs, OperationFuzzUnder, ::testing::ValuesIn(kDesigns),
                         [](const auto& d) { return std::string(design_name(d.param)); });

TEST(FailingAllocation, every_kind_of_memory_can_fail) {
  Result<std::unique_ptr<Engine>> engine = Engine::create({.frames = {uint64_t{1} << 12}});
  ASSERT_TRUE(engine);
  auto& soft = static_cast<SoftEngine&>(**engine);
  {
    const FailingAllocation failing(soft, 0, FailureLasts::on);
    EXPECT_EQ(new (std::nothrow) int, nullptr);
    EXPECT_TRUE(FailingAllocation::has_failed());
    EXPECT_FALSE(soft.frames().alloc(FrameUse::page, Fill::none));
    EXPECT_FALSE(soft.create_space({}));
  }
  EXPECT_TRUE(soft.create_space({}));
}

}  // namespace
}  // namespace pervma::test

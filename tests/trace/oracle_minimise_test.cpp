// Shrinking: of lists of operations alone, and of recordings with a planted difference.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "trace/oracle_minimise.h"
#include "trace/oracle_recorder.h"
#include "trace/oracle_scribe.h"

namespace pervma::trace {
namespace {

OracleOperation over(OracleCall call, uint64_t page, uint64_t pages) {
  return {.call = call, .address = kOracleWindow + PageCount{page}, .length = pages << kPageShift};
}

OracleOperation mapped(uint64_t page, uint64_t pages, uint32_t more_flags = 0) {
  OracleOperation op = over(OracleCall::mmap, page, pages);
  op.prot = 3;
  op.flags = 0x32 | more_flags;  // private, anonymous, fixed
  return op;
}

// A long random sequence of pervma's own, as operations.
std::vector<OracleOperation> random_operations(uint64_t seed, uint32_t count) {
  Result<OracleRunner> runner = OracleRunner::create(kDesigns[0]);
  EXPECT_TRUE(runner);
  Result<OracleReplica> replica =
      OracleReplica::create(runner->engine(), kDesigns[0], {}, oracle_files());
  EXPECT_TRUE(replica);
  OracleGenerator generator(seed, {.brk = false});
  std::vector<OracleOperation> list;
  for (uint32_t i = 0; i < count; ++i) {
    std::vector<Range> ranges;
    for (const VmaInfo& v :
         replica->space().vmas_in({kOracleWindow, kOracleWindow + PageCount{kOracleWindowPages}})) {
      ranges.push_back(v.range);
    }
    list.push_back(generator.next({.vmas = ranges}));
    (void)replica->execute(list.back());
  }
  return list;
}

TEST(Shrink, only_what_is_needed_is_left) {
  std::vector<OracleOperation> list = random_operations(11, 300);
  const OracleOperation first = mapped(100, 9, 0x8000);
  const OracleOperation second = over(OracleCall::mseal, 107, 1);
  list.insert(list.begin() + 40, first);
  list.insert(list.begin() + 200, second);
  // Shows when a mapping of page 107 comes before a sealing of it.
  const auto shows_at = [](std::span<const OracleOperation> ops) -> std::optional<size_t> {
    const Address page = kOracleWindow + PageCount{107};
    bool mapped_before = false;
    for (size_t i = 0; i < ops.size(); ++i) {
      const bool covers = ops[i].address <= page && page < ops[i].address + ops[i].length;
      if (ops[i].call == OracleCall::mmap && covers) mapped_before = true;
      if (ops[i].call == OracleCall::mseal && covers && mapped_before) return i;
    }
    return std::nullopt;
  };
  ASSERT_TRUE(shows_at(list));
  const std::optional<Shrunk> shrunk = shrink_operations(list, shows_at);
  ASSERT_TRUE(shrunk);
  ASSERT_EQ(shrunk->operations.size(), 2u);
  EXPECT_EQ(shrunk->operations[1].call, OracleCall::mseal);
  // The arguments are simple, too: populate has gone, and pages that are not needed.
  EXPECT_EQ(shrunk->operations[0].flags & 0x8000, 0u);
  EXPECT_LE(shrunk->operations[0].length >> kPageShift, 9u);
}

TEST(Shrink, what_does_not_show_is_not_shrunk) {
  const std::vector<OracleOperation> list = random_operations(3, 20);
  EXPECT_FALSE(shrink_operations(
      list, [](std::span<const OracleOperation>) { return std::optional<size_t>(); }));
}

TEST(Shrink, a_fixed_last_operation_stays) {
  std::vector<OracleOperation> list = random_operations(5, 50);
  list.push_back(mapped(7, 3));
  const std::optional<Shrunk> shrunk = shrink_operations(
      list,
      [](std::span<const OracleOperation> ops) { return std::optional<size_t>(ops.size() - 1); },
      {.last = LastOperation::is_fixed});
  ASSERT_TRUE(shrunk);
  EXPECT_EQ(shrunk->operations, std::vector<OracleOperation>{mapped(7, 3)});
}

// pervma's answers to a list, one of which is changed to what it would never say.
std::string planted(const std::vector<OracleOperation>& list, size_t at, const std::string& what) {
  Result<OracleRunner> runner = OracleRunner::create(kDesigns[0]);
  EXPECT_TRUE(runner);
  Result<OracleReplica> replica =
      OracleReplica::create(runner->engine(), kDesigns[0], {}, oracle_files());
  EXPECT_TRUE(replica);
  OracleScribe scribe(std::move(*replica));
  for (const OracleOperation& op : list) scribe.operation(op);
  std::string text = oracle_head({}, "profile=directed") + scribe.lines();
  const size_t line = text.find("\nO " + std::to_string(at) + " ");
  const size_t arrow = text.find(" -> ", line);
  text.replace(arrow, text.find('\n', arrow) - arrow, " -> " + what);
  return text + "E " + std::to_string(list.size()) + "\n";
}

class MinimiseUnder : public ::testing::TestWithParam<Design> {};

TEST_P(MinimiseUnder, a_planted_difference_is_shown_by_a_handful_of_operations) {
  std::vector<OracleOperation> list = random_operations(21, 200);
  for (OracleOperation& op : list) {
    // What outlasts everything would have to stay.
    if (op.call == OracleCall::mseal || op.call == OracleCall::fork ||
        op.call == OracleCall::mlockall) {
      op = mapped(9000, 1);
    }
  }
  list.push_back(over(OracleCall::munmap, 20'000, 4096));
  list.push_back(mapped(20'000, 4));
  list.push_back(mapped(300, 1));
  list.push_back(over(OracleCall::munmap, 20'001, 1));
  const size_t at = list.size() - 1;
  const TraceResult<OracleRecording> r =
      parse_oracle_recording("planted", planted(list, at, "-EPERM"));
  ASSERT_TRUE(r) << r.error().to_string();
  Result<OracleRunner> runner = OracleRunner::create(GetParam());
  ASSERT_TRUE(runner);
  const Result<OracleOutcome> before = runner->run(*r);
  ASSERT_TRUE(before && before->mismatch);
  ASSERT_EQ(before->mismatch->index, at);

  const Result<Minimised> small = minimise_recording(*runner, *r, before->mismatch->index);
  ASSERT_TRUE(small);
  EXPECT_EQ(small->answers, AnswersOf::recording);  // The kernel would not say so.
  EXPECT_EQ(small->operations, 2u) << small->text;
  // The scenario is a recording with the same difference at its end.
  const TraceResult<OracleRecording> again = parse_oracle_recording("small", small->text);
  ASSERT_TRUE(again) << again.error().to_string();
  const Result<OracleOutcome> after = runner->run(*again);
  ASSERT_TRUE(after && after->mismatch);
  EXPECT_EQ(after->mismatch->index + 1, again->ops.size());
  EXPECT_EQ(after->mismatch->what, before->mismatch->what);
}

INSTANTIATE_TEST_SUITE_P(Designs, MinimiseUnder, ::testing::ValuesIn(kDesigns),
                         [](const auto& d) { return std::string(design_name(d.param)); });

TEST(Minimise, the_running_kernel_answers_every_candidate) {
  // What "differs": the kernel refuses to unmap something. A sealed page does it.
  std::vector<OracleOperation> list{mapped(10, 8),
                                    mapped(40, 2, 0x2000),
                                    mapped(60, 5),
                                    over(OracleCall::mseal, 61, 2),
                                    over(OracleCall::munmap, 10, 1),
                                    over(OracleCall::munmap, 60, 5)};
  uint32_t asked = 0;
  bool permitted = true;
  const auto shows_at = [&](std::span<const OracleOperation> ops) -> std::optional<size_t> {
    const Result<LiveRecording> live = record_operations({}, ops);
    if (!live) {
      permitted = permitted && live.error() != Error::perm;
      return std::nullopt;
    }
    ++asked;
    const TraceResult<OracleRecording> r = parse_oracle_recording("live", live->text);
    if (!r) return std::nullopt;
    for (const OracleOp& op : r->ops) {
      if (op.call == OracleCall::munmap && op.answer.error != 0) return &op - r->ops.data();
    }
    return std::nullopt;
  };
  const std::optional<Shrunk> shrunk = shrink_operations(list, shows_at);
  if (!permitted) GTEST_SKIP() << "this kernel does not let a process arrange its address space";
  if (!shrunk) GTEST_SKIP() << "this kernel does not seal";
  EXPECT_GT(asked, 3u);
  ASSERT_EQ(shrunk->operations.size(), 3u);
  EXPECT_EQ(shrunk->operations[1].call, OracleCall::mseal);
  EXPECT_EQ(shrunk->operations[0].length, kPageSize * 2) << "longer than needed";
}

}  // namespace
}  // namespace pervma::trace

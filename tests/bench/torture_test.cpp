// The torture finds nothing in any design; and it finds what is broken on purpose.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "bench/torture/marks.h"
#include "bench/torture/torture.h"
#include "support/command.h"
#include "sync/assert.h"

namespace pervma::torture {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

// CI gives each sanitizer build a minute, shared by the designs. How long it takes decides nothing
// but how much is tried.
constexpr double kSeconds = kDebugChecks ? 56.0 / kDesigns.size() : 1.5;

class TortureOf : public ::testing::TestWithParam<Design> {};

TEST_P(TortureOf, finds_no_violation) {
  const TortureResult r = run_torture({.design = GetParam(), .seconds = kSeconds, .seed = 11});
  EXPECT_FALSE(r.violation.has_value()) << *r.violation;
  EXPECT_GT(r.operations, 0u);
  EXPECT_GT(r.rounds, 0u);
  const FaultCounters& f = r.faults;
  EXPECT_GT(f.success + f.abort + f.retry, 0u);
  for (const auto& [what, n] : r.counts) std::printf("%s %lu; ", what.c_str(), n);
  std::printf("\n");
}

INSTANTIATE_TEST_SUITE_P(Designs, TortureOf, ::testing::ValuesIn(kDesigns),
                         [](const auto& test) { return std::string(design_name(test.param)); });

// Until it is noticed; the limit is far away.
TortureResult broken(Broken rule) {
  return run_torture({.design = Design::refcount, .seconds = 200, .seed = 5, .broken = rule});
}

TEST(Torture, notices_readers_that_do_not_hold_what_they_read) {
  const TortureResult r = broken(Broken::read_lock);
  ASSERT_TRUE(r.violation.has_value());
  EXPECT_THAT(*r.violation, HasSubstr("held for read"));
  EXPECT_THAT(*r.violation, HasSubstr("which found it:"));
}

TEST(Torture, notices_words_that_are_not_what_was_stored_last) {
  const TortureResult r = broken(Broken::data);
  ASSERT_TRUE(r.violation.has_value());
  EXPECT_THAT(*r.violation, HasSubstr("saw"));
}

TEST(TortureCommand, prints_both_sides_last_events_and_exits_with_1) {
  const test::CommandOutcome o =
      test::run_pervma("torture --design refcount --seconds 200 --break data --seed 3");
  EXPECT_EQ(o.status, 1);
  EXPECT_THAT(o.out, HasSubstr("VIOLATED"));
  EXPECT_THAT(o.out, HasSubstr("which found it:"));
  EXPECT_THAT(o.out, AnyOf(HasSubstr("store"), HasSubstr("load")));
}

TEST(TortureCommand, writes_a_summary_with_every_path_taken) {
  const test::CommandOutcome o = test::run_pervma("torture --design all --seconds 0.4 --json -");
  EXPECT_EQ(o.status, 0) << o.err;
  const auto all = nlohmann::json::parse(o.out);
  ASSERT_EQ(all.size(), kDesigns.size());
  for (const auto& one : all) {
    EXPECT_TRUE(one.at("violation").is_null());
    for (const char* key : {"success", "abort", "retry", "miss"}) {
      EXPECT_TRUE(one.at("faults").contains(key)) << key;
    }
    EXPECT_TRUE(one.at("counts").is_object());
    EXPECT_EQ(one.at("seed"), 1);
  }
}

TEST(TortureCommand, refuses_bad_input_in_one_line) {
  test::expect_refused(test::run_pervma("torture --design tape"), "there is no design 'tape'");
  test::expect_refused(test::run_pervma("torture --threads 0"), "--threads");
  test::expect_refused(test::run_pervma("torture --seconds 0"), "--seconds");
  test::expect_refused(test::run_pervma("torture --json /no/such/folder/x"), "cannot be written");
  const test::CommandOutcome help = test::run_pervma("torture --help");
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.out, HasSubstr("Example"));
  EXPECT_THAT(help.out, ::testing::Not(HasSubstr("--break")));
}

TEST(Marks, a_hold_lets_operations_begin_and_none_begin_and_end) {
  Mark mark;
  const PageState mapped = PageState::of(VmaFlag::read);
  const MarkValue before = mark.read();
  mark.begin();
  EXPECT_TRUE(MarkValue::may_be_held(before, mark.read()));
  EXPECT_FALSE(MarkValue::stable(before, mark.read()));
  const MarkValue changing = mark.read();
  mark.end(mapped);
  EXPECT_FALSE(MarkValue::may_be_held(before, mark.read()));
  EXPECT_TRUE(MarkValue::may_be_held(changing, mark.read()));
  EXPECT_EQ(mark.read().state(), mapped);
  mark.begin();
  EXPECT_TRUE(MarkValue::may_be_held(changing, mark.read()));
  mark.end(PageState());
  EXPECT_FALSE(MarkValue::may_be_held(changing, mark.read()));
  const MarkValue again = mark.read();
  mark.begin();
  mark.cancel();
  EXPECT_TRUE(MarkValue::stable(again, mark.read()));
}

TEST(Marks, a_state_tells_what_an_access_gives) {
  EXPECT_EQ(PageState().outcome(Access::read), FaultOutcome::map_error);
  EXPECT_EQ(PageState::of({}).outcome(Access::read), FaultOutcome::access_error);
  EXPECT_EQ(PageState::of(VmaFlag::read).outcome(Access::read), FaultOutcome::resolved);
  EXPECT_EQ(PageState::of(VmaFlag::read).outcome(Access::write), FaultOutcome::access_error);
  EXPECT_EQ(PageState::of(VmaFlag::read | VmaFlag::write).outcome(Access::write),
            FaultOutcome::resolved);
}

}  // namespace
}  // namespace pervma::torture

// What is refused, and answers that only odd states of a space bring about.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <stop_token>
#include <vector>

#include "tests/fault/space_fixture.h"

namespace pervma {
namespace {

using namespace test;  // NOLINT: the suite speaks its language

class NobodyTold final : public PageNotifier {
  void invalidate_start(Range) noexcept override {}
  void invalidate_end(Range) noexcept override {}
};

template <class T>
Error error_of(const Result<T>& r) {
  EXPECT_FALSE(r);
  return r ? Error::io : r.error();
}

class Refused : public SpaceFixture {
 protected:
  std::unique_ptr<AddressSpace> space_with(const SpaceOptions& given) {
    SpaceOptions options = given;
    options.design = GetParam();
    return *engine_->create_space(options);
  }
  std::unique_ptr<UserFaults> user_faults() { return *space_->create_user_faults({}); }
};

TEST_P(Refused, a_requested_stop_ends_calls_that_wait_with_intr) {
  const Range r = map(4);
  const std::unique_ptr<UserFaults> faults = user_faults();
  std::array<uint8_t, 4> bytes{};
  NobodyTold nobody;
  std::stop_source source;
  source.request_stop();
  const std::stop_token stop = source.get_token();
  EXPECT_EQ(error_of(space_->clear_written(r.start, r.bytes(), stop)), Error::intr);
  EXPECT_EQ(error_of(space_->written(r.start, r.bytes(), bytes, stop)), Error::intr);
  EXPECT_EQ(error_of(space_->add_notifier(nobody, stop)), Error::intr);
  EXPECT_EQ(error_of(space_->advise(r.start, r.bytes(), Advice::collapse, stop)), Error::intr);
  const auto missing = UserFaultModes::missing;
  EXPECT_EQ(error_of(faults->register_range(r.start, r.bytes(), missing, stop)), Error::intr);
  EXPECT_EQ(error_of(faults->unregister_range(r.start, r.bytes(), stop)), Error::intr);
}

TEST_P(Refused, what_was_written_is_asked_for_by_whole_pages) {
  const Range r = map(4);
  std::array<uint8_t, 4> bytes{};
  EXPECT_EQ(error_of(space_->clear_written(r.start + 1, kPageSize)), Error::inval);
  EXPECT_EQ(error_of(space_->written(r.start + 1, kPageSize, bytes)), Error::inval);
  EXPECT_EQ(error_of(space_->written(r.start, 5 * kPageSize, bytes)), Error::inval);
  EXPECT_TRUE(space_->written(r.start, 4 * kPageSize, bytes));
}

TEST_P(Refused, unregistering_half_a_page_is_invalid) {
  const Range r = map(4);
  EXPECT_EQ(error_of(user_faults()->unregister_range(r.start + 1, kPageSize)), Error::inval);
}

TEST_P(Refused, there_are_only_so_many_user_faults_and_ended_ones_make_room) {
  std::vector<std::unique_ptr<UserFaults>> all;
  for (;;) {
    Result<std::unique_ptr<UserFaults>> one = space_->create_user_faults({});
    if (!one) {
      EXPECT_EQ(one.error(), Error::nomem);
      break;
    }
    all.push_back(std::move(*one));
    ASSERT_LT(all.size(), 10'000u);
  }
  EXPECT_EQ(all.size(), 4095u);
  all.erase(all.begin() + 17);
  EXPECT_TRUE(space_->create_user_faults({}));
}

TEST_P(Refused, a_name_needs_printable_characters_and_room_for_the_cuts) {
  const std::unique_ptr<AddressSpace> space = space_with({.max_map_count = 2});
  const auto request = MapRequest{.length = 8 * kPageSize, .prot = kRw, .flags = kAnon};
  const Address at = *space->map(request);
  EXPECT_EQ(error_of(space->set_name(at, kPageSize, "del\x7f")), Error::inval);
  EXPECT_EQ(error_of(space->set_name(at + kPageSize, kPageSize, "middle")), Error::again);
  EXPECT_TRUE(space->set_name(at, 8 * kPageSize, "all"));
  EXPECT_EQ(space->check(), "");
}

TEST_P(Refused, neighbours_with_other_names_stay_apart) {
  const Range r = map(8);
  ASSERT_TRUE(space_->set_name(r.start, 4 * kPageSize, "left"));
  ASSERT_TRUE(space_->set_name(r.start + 4 * kPageSize, 4 * kPageSize, "right"));
  EXPECT_EQ(space_->map_count(), 2u);
  ASSERT_TRUE(space_->set_name(r.start + 4 * kPageSize, 4 * kPageSize, "left"));
  EXPECT_EQ(space_->map_count(), 1u);
}

TEST_P(Refused, nothing_is_shown_of_an_empty_range) {
  const Range r = map(1);
  struct Counting final : VmaVisitor {
    void visit(const VmaView&) override { ++seen; }
    int seen = 0;
  } counting;
  space_->for_each_vma({r.start, r.start}, counting);
  EXPECT_EQ(counting.seen, 0);
  space_->for_each_vma(r, counting);
  EXPECT_EQ(counting.seen, 1);
}

// Its page numbers, which a touched mapping keeps when it moves, cannot go below zero.
TEST_P(Refused, a_moved_stack_grows_no_further_than_its_first_page) {
  const Range low = map_at(Address{32 * kPageSize}, 2, kRw, kAnon | MapFlags::growsdown);
  write64(low.start, 1);
  const Address high{uint64_t{1} << 40};
  ASSERT_TRUE(space_->remap({.old_address = low.start,
                             .old_length = low.bytes(),
                             .new_length = low.bytes(),
                             .flags = RemapFlags::maymove | RemapFlags::fixed,
                             .new_address = high}));
  EXPECT_EQ(fault(high - 33 * kPageSize, Access::write), FaultOutcome::map_error);
  EXPECT_EQ(fault(high - 32 * kPageSize, Access::write), FaultOutcome::resolved);
}

// Two children may have pages of it: it is nobody's to use again, though no VMA of its own is left.
TEST_P(Refused, an_identity_with_two_children_is_not_used_again) {
  const Range r = map(2);
  write64(r.start, 1);
  const std::unique_ptr<AddressSpace> first = *engine_->fork(*space_);
  const std::unique_ptr<AddressSpace> second = *engine_->fork(*space_);
  const uint64_t parents = space_->find_vma(r.start)->anon_vma;
  ASSERT_TRUE(space_->unmap(r.start, r.bytes()));
  const std::unique_ptr<AddressSpace> grandchild = *engine_->fork(*first);
  EXPECT_NE(grandchild->find_vma(r.start)->anon_vma, parents);
  EXPECT_EQ(read64(*grandchild, r.start), 1u);
}

// A step of one look passes 64 VMAs at most: what lies behind 200 is a later step's.
TEST_P(Refused, the_collapser_rests_after_many_vmas_that_are_nothing_for_it) {
  for (uint64_t i = 0; i < 200; ++i) {
    map_at(Address{(uint64_t{1} << 40) + 2 * i * kPageSize}, 1);
  }
  const Range huge = map_at(Address{uint64_t{1} << 41}, 512);
  ASSERT_TRUE(space_->advise(huge.start, huge.bytes(), Advice::hugepage));
  for (uint64_t i = 0; i < 512; ++i) write64(huge.start + i * kPageSize, i + 1);
  EXPECT_EQ(engine_->collapse_some(1), 0u);
  uint64_t made = 0;
  for (int step = 0; step < 8; ++step) made += engine_->collapse_some(1);
  EXPECT_EQ(made, 1u);
  EXPECT_EQ(read64(huge.start + 511 * kPageSize), 512u);
}

INSTANTIATE_TEST_SUITE_P(Designs, Refused, ::testing::ValuesIn(kDesigns), test::design_of);

}  // namespace
}  // namespace pervma

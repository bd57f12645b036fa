// Huge pages: what stays one, what makes small pages of one again, and that no byte is lost.
#include <array>

#include "tests/fault/failing_store.h"
#include "tests/fault/huge_fixture.h"

namespace pervma {
namespace {

using namespace test;  // NOLINT: the suite speaks its language

TEST_P(HugePage, keeps_every_byte_and_is_loaded_from_and_stored_to) {
  const Range r = filled(2);
  write64(page_of(r, 7) + 4088, 77);
  ASSERT_EQ(advise(part(r, 3, 2), Advice::dontneed), 0);
  ASSERT_EQ(collapse(r), 0);
  EXPECT_EQ(huge_pages(), 2u);
  engine_->quiesce();
  EXPECT_EQ(engine_->frames_used(), PageCount{2 * kHuge});
  EXPECT_EQ(read64(page_of(r, 7) + 4088), 77u);
  EXPECT_EQ(read64(page_of(r, 3)), 0u);
  EXPECT_EQ(read64(page_of(r, 4)), 0u);
  for (const uint64_t p : {uint64_t{3}, uint64_t{4}}) write64(page_of(r, p), p + 1);
  expect_filled(r);
  const FaultCounters before = space_->fault_counters();
  write64(page_of(r, kHuge - 1) + 8, 1);
  EXPECT_EQ(space_->fault_counters().success + space_->fault_counters().abort,
            before.success + before.abort)
      << "no fault";
  std::vector<uint8_t> there(2 * kHuge);
  ASSERT_TRUE(space_->residency(r.start, r.bytes(), there));
  EXPECT_EQ(there, std::vector<uint8_t>(2 * kHuge, 1));
  // Across its parts, and out of it.
  std::array<uint64_t, 1024> words{};
  ASSERT_EQ(space_->load(page_of(r, kHuge - 1), writable_bytes_of(words)), FaultOutcome::resolved);
  EXPECT_EQ(words[0], kHuge);
  EXPECT_EQ(words[512], kHuge + 1);
  const std::byte* const at = space_->translate(page_of(r, 5), Access::write);
  ASSERT_NE(at, nullptr);
  EXPECT_EQ(static_cast<uint64_t>(at[0]), 6u);
  EXPECT_EQ(space_->check(), "");
}

TEST_P(HugePage, becomes_small_where_a_part_is_unmapped_or_dropped) {
  const Range r = collapsed(3);
  ASSERT_TRUE(space_->unmap(page_of(r, 10), 5 * kPageSize));
  EXPECT_EQ(huge_pages(), 2u);
  ASSERT_EQ(advise(part(r, kHuge + 1, 2), Advice::dontneed), 0);
  EXPECT_EQ(huge_pages(), 1u);
  EXPECT_EQ(space_->check(), "");
  expect_filled(*space_, r, 0, 10);
  expect_filled(*space_, r, 15, kHuge + 1);
  EXPECT_EQ(read64(page_of(r, kHuge + 1)), 0u);
  expect_filled(*space_, r, kHuge + 3, 3 * kHuge);
  engine_->quiesce();
  EXPECT_EQ(engine_->frames_used(), PageCount{3 * kHuge - 7});
  // Whole, it goes as one.
  ASSERT_EQ(advise(part(r, 2 * kHuge, kHuge), Advice::dontneed), 0);
  EXPECT_EQ(huge_pages(), 0u);
  EXPECT_EQ(space_->statistics().pages.anonymous, 2 * kHuge - 7);
  EXPECT_EQ(read64(page_of(r, 2 * kHuge + 5)), 0u);
}

TEST_P(HugePage, stays_one_under_a_right_that_holds_for_all_of_it) {
  const Range r = collapsed(2);
  ASSERT_TRUE(space_->protect(r.start, r.bytes(), Prot::read));
  EXPECT_EQ(huge_pages(), 2u);
  uint64_t value = 1;
  EXPECT_EQ(space_->store(page_of(r, 1), bytes_of(value)), FaultOutcome::access_error);
  expect_filled(r);
  ASSERT_TRUE(space_->protect(r.start, kHuge * kPageSize / 2, kRw));
  write64(page_of(r, 1), 2);
  EXPECT_EQ(huge_pages(), 1u) << "half of the first may be written now, and was";
  EXPECT_EQ(space_->store(page_of(r, kHuge / 2), bytes_of(value)), FaultOutcome::access_error);
  ASSERT_TRUE(space_->protect(page_of(r, kHuge), kHuge * kPageSize, kRw));
  write64(page_of(r, kHuge + 1), kHuge + 2);
  EXPECT_EQ(huge_pages(), 1u) << "all of the second";
  ASSERT_TRUE(space_->protect(page_of(r, kHuge), kPageSize, Prot::none));
  EXPECT_EQ(huge_pages(), 0u);
  expect_filled(*space_, r, kHuge + 1, 2 * kHuge);
}

TEST_P(HugePage, moves_as_one_to_a_boundary_and_in_pieces_elsewhere) {
  Range r = collapsed(2);
  const auto move = [&](Range from, Address to) {
    ASSERT_TRUE(space_->remap({.old_address = from.start,
                               .old_length = from.bytes(),
                               .new_length = from.bytes(),
                               .flags = RemapFlags::maymove | RemapFlags::fixed,
                               .new_address = to}));
  };
  const Address far = kBase + 64 * kHugePageSize;
  move(r, far);
  r = {far, far + r.bytes()};
  EXPECT_EQ(huge_pages(), 2u);
  expect_filled(r);
  EXPECT_EQ(space_->check(), "");
  const Range whole = r;
  move(part(r, 5, 3), kBase);
  EXPECT_EQ(huge_pages(), 1u) << "a part of the first";
  EXPECT_EQ(read64(kBase), 6u);
  expect_filled(*space_, whole, 0, 5);
  expect_filled(*space_, whole, 8, 2 * kHuge);
  move(part(r, kHuge, kHuge), kBase + kHugePageSize + kPageSize);
  EXPECT_EQ(huge_pages(), 0u) << "the second, beside a boundary";
  for (uint64_t p = 0; p < kHuge; ++p) {
    ASSERT_EQ(read64(kBase + kHugePageSize + (p + 1) * kPageSize), kHuge + p + 1);
  }
  EXPECT_EQ(space_->check(), "");
}

TEST_P(HugePage, moves_in_pieces_to_where_small_pages_were) {
  const Range r = collapsed(1);
  const Range to = map_at(kBase + 8 * kHugePageSize, kHuge + 1);
  for (uint64_t p = 0; p <= kHuge; ++p) write64(page_of(to, p), 5);
  ASSERT_TRUE(space_->remap({.old_address = r.start,
                             .old_length = r.bytes(),
                             .new_length = r.bytes(),
                             .flags = RemapFlags::maymove | RemapFlags::fixed,
                             .new_address = to.start}));
  for (uint64_t p = 0; p < kHuge; ++p) ASSERT_EQ(read64(page_of(to, p)), p + 1);
  EXPECT_EQ(read64(page_of(to, kHuge)), 5u);
  EXPECT_EQ(space_->check(), "");
}

TEST_P(HugePage, is_shared_by_a_fork_and_split_by_the_side_that_writes) {
  const Range r = collapsed(2);
  auto child = *engine_->fork(*space_);
  engine_->quiesce();
  EXPECT_EQ(engine_->frames_used(), PageCount{2 * kHuge});
  EXPECT_EQ(huge_pages(*child), 2u);
  write64(page_of(r, 3), 1000);
  EXPECT_EQ(huge_pages(), 1u);
  EXPECT_EQ(huge_pages(*child), 2u);
  expect_filled(*child, r, 0, 2 * kHuge);
  write64(*child, page_of(r, kHuge), 2000);
  EXPECT_EQ(huge_pages(*child), 1u);
  EXPECT_EQ(read64(page_of(r, kHuge)), kHuge + 1);
  engine_->quiesce();
  EXPECT_EQ(engine_->frames_used(), PageCount{2 * kHuge + 2}) << "two small pages were copied";
  EXPECT_EQ(child->check(), "");
  EXPECT_EQ(space_->check(), "");
  child.reset();
  engine_->quiesce();
  EXPECT_EQ(engine_->frames_used(), PageCount{2 * kHuge});
  // Alone with it again: all of it may be written at once.
  write64(page_of(r, kHuge), kHuge + 1);
  EXPECT_EQ(huge_pages(), 1u);
  write64(page_of(r, 3), 4);
  expect_filled(r);
}

// A child's small pages become one of its own; the parent keeps what it has.
TEST_P(HugePage, is_made_of_pages_that_a_fork_shares) {
  const Range r = filled(1);
  auto child = *engine_->fork(*space_);
  ASSERT_TRUE(child->advise(r.start, r.bytes(), Advice::collapse));
  EXPECT_EQ(huge_pages(*child), 1u);
  EXPECT_EQ(huge_pages(), 0u);
  write64(*child, page_of(r, 5), 1);
  EXPECT_EQ(huge_pages(*child), 1u);
  expect_filled(r);
  EXPECT_EQ(child->check(), "");
}

TEST_P(HugePage, is_forked_in_parts_where_its_mapping_was_cut) {
  const Range r = collapsed(1);
  ASSERT_EQ(advise(part(r, 0, 100), Advice::dontfork), 0);
  auto child = *engine_->fork(*space_);
  expect_filled(*child, r, 100, kHuge);
  EXPECT_EQ(fault(page_of(r, 5), Access::read), FaultOutcome::resolved);
  EXPECT_EQ(child->handle_fault(page_of(r, 5), Access::read), FaultOutcome::map_error);
  EXPECT_EQ(child->check(), "");
  expect_filled(r);
}

TEST_P(HugePage, tells_what_was_written_as_a_whole) {
  const Range r = collapsed(1);
  std::vector<uint8_t> written(kHuge);
  ASSERT_TRUE(space_->written(r.start, r.bytes(), written));
  EXPECT_EQ(written, std::vector<uint8_t>(kHuge, 1));
  ASSERT_TRUE(space_->clear_written(r.start, r.bytes()));
  EXPECT_EQ(huge_pages(), 1u);
  ASSERT_TRUE(space_->written(r.start, r.bytes(), written));
  EXPECT_EQ(written, std::vector<uint8_t>(kHuge, 0));
  write64(page_of(r, 9), 10);
  EXPECT_EQ(huge_pages(), 1u);
  std::vector<uint8_t> two(2);
  ASSERT_TRUE(space_->written(page_of(r, 30), 2 * kPageSize, two));
  EXPECT_EQ(two, std::vector<uint8_t>(2, 1));
  // Pages that were not written since are not by being collapsed.
  const Range s = filled(1);
  ASSERT_TRUE(space_->clear_written(s.start, s.bytes()));
  ASSERT_EQ(collapse(s), 0);
  ASSERT_TRUE(space_->written(s.start, s.bytes(), written));
  EXPECT_EQ(written, std::vector<uint8_t>(kHuge, 0));
  expect_filled(s);
}

TEST_P(HugePage, given_up_pages_are_kept_once_they_are_written) {
  const Range r = collapsed(2);
  ASSERT_EQ(advise(r, Advice::free), 0);
  EXPECT_EQ(huge_pages(), 2u);
  write64(page_of(r, 3), 4);
  ASSERT_EQ(advise(r, Advice::pageout), 0);
  expect_filled(*space_, r, 3, 4);
  EXPECT_EQ(read64(page_of(r, kHuge)), 0u) << "never written again: gone";
  EXPECT_EQ(space_->check(), "");
}

TEST_P(HugePage, takes_a_callers_pages_in_as_small_ones) {
  const Range r = collapsed(1);
  std::vector<PageBuffer> pages;
  for (uint64_t i = 0; i < 2; ++i) {
    pages.push_back(*engine_->alloc_page());
    std::fill(pages.back().bytes().begin(), pages.back().bytes().end(), std::byte{9});
  }
  ASSERT_TRUE(space_->insert_pages(page_of(r, 100), pages));
  EXPECT_EQ(huge_pages(), 0u);
  EXPECT_EQ(read64(page_of(r, 101)), 0x0909090909090909u);
  expect_filled(*space_, r, 102, kHuge);
}

TEST_P(HugePage, a_guard_page_cuts_it) {
  const Range r = collapsed(1);
  ASSERT_EQ(advise(part(r, 7, 1), Advice::guard_install), 0);
  EXPECT_EQ(huge_pages(), 0u);
  EXPECT_EQ(fault(page_of(r, 7), Access::read), FaultOutcome::map_error);
  expect_filled(*space_, r, 8, kHuge);
}

class CountingNotifier final : public PageNotifier {
 public:
  void invalidate_start(Range r) noexcept override {
    ++starts;
    last = r;
  }
  void invalidate_end(Range) noexcept override { ++ends; }
  int starts = 0;
  int ends = 0;
  Range last{};
};

TEST_P(HugePage, translations_end_when_it_is_made_and_last_when_it_is_split) {
  const Range r = filled(1);
  CountingNotifier notifier;
  ASSERT_TRUE(space_->add_notifier(notifier));
  ASSERT_EQ(collapse(r), 0);
  EXPECT_EQ(notifier.starts, 1);
  EXPECT_EQ(notifier.ends, 1);
  EXPECT_EQ(notifier.last, r);
  const std::byte* const before = space_->translate(page_of(r, 9), Access::read);
  ASSERT_EQ(advise(part(r, 3, 1), Advice::dontneed), 0);
  EXPECT_EQ(notifier.starts, 2);
  EXPECT_EQ(notifier.last, part(r, 3, 1)) << "only what was dropped";
  EXPECT_EQ(space_->translate(page_of(r, 9), Access::read), before);
  space_->remove_notifier(notifier);
}

// --- the store ----------------------------------------------------------------------------------

class HugeSwap : public HugePage {
 protected:
  HugeSwap()
      : HugePage(EngineOptions{.frames = {3000}, .swap = make_store(StoreKind::lz4, {8'000})}) {}
};

TEST_P(HugeSwap, goes_out_as_small_pages_and_is_made_again_of_what_comes_back) {
  const Range r = collapsed(1);
  ASSERT_EQ(advise(part(r, 0, 100), Advice::pageout), 0);
  EXPECT_EQ(huge_pages(), 0u);
  EXPECT_EQ(space_->statistics().pages.swapped, 100u);
  ASSERT_EQ(collapse(r), 0);
  EXPECT_EQ(huge_pages(), 1u);
  EXPECT_EQ(space_->statistics().pages.swapped, 0u);
  EXPECT_EQ(engine_->swap_counters().slots, 0u);
  expect_filled(r);
}

TEST_P(HugeSwap, the_clock_takes_huge_pages_that_are_not_used) {
  const Range r = collapsed(1);
  const Range more = map(6000);
  for (uint64_t p = 0; p < 6000; ++p) write64(page_of(more, p), p + 1);
  EXPECT_EQ(huge_pages(), 0u);
  expect_filled(r);
  for (uint64_t p = 0; p < 6000; ++p) ASSERT_EQ(read64(page_of(more, p)), p + 1);
  EXPECT_EQ(space_->check(), "");
}

INSTANTIATE_TEST_SUITE_P(Designs, HugePage, ::testing::ValuesIn(kDesigns), test::design_of);
INSTANTIATE_TEST_SUITE_P(Designs, HugeSwap, ::testing::ValuesIn(kDesigns), test::design_of);

}  // namespace
}  // namespace pervma

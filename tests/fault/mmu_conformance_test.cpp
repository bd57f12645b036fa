// What every Mmu must do, whatever it is made of.
#include <gtest/gtest.h>

#include <tuple>

#include "tests/fault/soft_mmu_under_test.h"

namespace pervma {
namespace {

using namespace test;  // NOLINT: the suite speaks its language

class MmuConformance : public ::testing::TestWithParam<MmuKind> {
 protected:
  // Makes the page there and puts a byte into it.
  void put(LooseVma& vma, Address a, int value) {
    ASSERT_EQ(m_->touch(vma, a, Access::write), FaultOutcome::resolved);
    m_->write(a, static_cast<std::byte>(value));
  }
  int get(Address a) { return static_cast<int>(m_->read(a)); }
  // Takes everything away, as an exit does.
  void clear(LooseVma& vma) {
    m_->mmu().zap(vma.range);
    m_->mmu().free_tables(vma.range, {Address{0}, Address{uint64_t{1} << 47}});
  }

  const std::unique_ptr<MmuUnderTest> m_ = GetParam().make();
  const Range range_ = pages_at(0x1ff000, 8);  // crosses a table's border
};

TEST_P(MmuConformance, a_page_that_is_only_read_is_zero_and_costs_no_frame) {
  LooseVma vma(range_, kReadWrite);
  ASSERT_EQ(m_->touch(vma, range_.start, Access::read), FaultOutcome::resolved);
  EXPECT_TRUE(m_->reaches(range_.start, Access::read));
  EXPECT_FALSE(m_->reaches(range_.start, Access::write));
  EXPECT_EQ(get(range_.start + 77), 0);
  EXPECT_EQ(vma.anon_vma(), nullptr);
  EXPECT_EQ(m_->pages(), 0u);
  clear(vma);
}

TEST_P(MmuConformance, a_written_page_begins_as_zeros_and_keeps_what_was_written) {
  LooseVma vma(range_, kReadWrite);
  ASSERT_EQ(m_->touch(vma, range_.start, Access::read), FaultOutcome::resolved);
  put(vma, range_.start + 5, 42);
  EXPECT_EQ(get(range_.start + 5), 42);
  EXPECT_EQ(get(range_.start + 6), 0);
  EXPECT_NE(vma.anon_vma(), nullptr);
  EXPECT_EQ(m_->pages(), 1u);
  clear(vma);
  EXPECT_EQ(m_->pages(), 0u);
}

TEST_P(MmuConformance, zap_removes_exactly_the_range) {
  LooseVma vma(range_, kReadWrite);
  for (uint64_t p = 0; p < 8; ++p) put(vma, page_of(range_, p), static_cast<int>(p + 1));
  m_->mmu().zap({page_of(range_, 2), page_of(range_, 5)});
  for (uint64_t p = 0; p < 8; ++p) {
    const bool zapped = p >= 2 && p < 5;
    EXPECT_EQ(m_->reaches(page_of(range_, p), Access::read), !zapped) << p;
    if (!zapped) {
      EXPECT_EQ(get(page_of(range_, p)), static_cast<int>(p + 1));
    }
  }
  EXPECT_EQ(m_->pages(), 5u);
  ASSERT_EQ(m_->touch(vma, page_of(range_, 3), Access::read), FaultOutcome::resolved);
  EXPECT_EQ(get(page_of(range_, 3)), 0);
  clear(vma);
}

TEST_P(MmuConformance, zap_of_nothing_is_nothing) {
  m_->mmu().zap(pages_at(0x7000'0000'0000, 1 << 20));
  m_->mmu().zap(pages_at(0, uint64_t{1} << 35));
  m_->mmu().free_tables(pages_at(0, 16), pages_at(0, uint64_t{1} << 35));
  m_->mmu().protect(pages_at(0, uint64_t{1} << 35), kRead);
  EXPECT_EQ(m_->pages(), 0u);
}

TEST_P(MmuConformance, freed_tables_come_again_and_neighbours_stay) {
  LooseVma vma(range_, kReadWrite);
  LooseVma neighbour(pages_at(0x600000, 1), kReadWrite);
  put(neighbour, neighbour.start(), 9);
  for (int round = 1; round <= 3; ++round) {
    put(vma, range_.start, round);
    put(vma, page_of(range_, 7), round);
    m_->mmu().zap(range_);
    m_->mmu().free_tables(range_, {Address{0}, neighbour.start()});
    EXPECT_FALSE(m_->reaches(range_.start, Access::read));
    EXPECT_EQ(get(neighbour.start()), 9);
  }
  clear(neighbour);
}

// All old rights x all new ones: what is there never allows more than both.
TEST_P(MmuConformance, a_freed_page_stays_until_it_is_reclaimed_and_a_store_keeps_it) {
  LooseVma vma(range_, kReadWrite);
  for (uint64_t p = 0; p < 3; ++p) put(vma, page_of(range_, p), 7);
  m_->mmu().mark_freed({range_.start, page_of(range_, 2)});
  EXPECT_EQ(get(range_.start), 7);
  EXPECT_FALSE(m_->reaches(range_.start, Access::write));  // The store is to be seen.
  put(vma, page_of(range_, 1), 8);
  m_->mmu().reclaim(vma, range_);
  EXPECT_FALSE(m_->reaches(range_.start, Access::read));
  EXPECT_EQ(get(page_of(range_, 1)), 8);
  EXPECT_EQ(get(page_of(range_, 2)), 7);
  clear(vma);
}

TEST_P(MmuConformance, protect_takes_rights_away_and_gives_none) {
  const VmaFlags all[] = {VmaFlags{}, kRead, kReadWrite, VmaFlag::read | VmaFlag::exec,
                          kReadWrite | VmaFlag::exec};
  for (const VmaFlags before : all) {
    for (const VmaFlags after : all) {
      LooseVma vma(pages_at(0x10000, 1), kReadWrite | VmaFlag::exec);
      put(vma, vma.start(), 1);
      m_->mmu().protect(vma.range, before);
      m_->mmu().protect(vma.range, after);
      const auto had = [&](VmaFlag f) { return before.has(f) && after.has(f); };
      EXPECT_EQ(m_->reaches(vma.start(), Access::write), had(VmaFlag::write));
      EXPECT_EQ(m_->reaches(vma.start(), Access::exec), had(VmaFlag::exec));
      EXPECT_EQ(m_->reaches(vma.start(), Access::read), !before.empty() && !after.empty());
      clear(vma);
    }
  }
}

TEST_P(MmuConformance, a_right_that_was_given_back_comes_with_the_next_fault_and_the_old_page) {
  LooseVma vma(pages_at(0x10000, 1), kReadWrite);
  put(vma, vma.start(), 33);
  m_->mmu().protect(vma.range, VmaFlags{});
  EXPECT_FALSE(m_->reaches(vma.start(), Access::read));
  ASSERT_EQ(m_->touch(vma, vma.start(), Access::read), FaultOutcome::resolved);
  EXPECT_EQ(get(vma.start()), 33);
  ASSERT_EQ(m_->touch(vma, vma.start(), Access::write), FaultOutcome::resolved);
  m_->write(vma.start() + 1, std::byte{34});
  EXPECT_EQ(get(vma.start()), 33);
  EXPECT_EQ(m_->pages(), 1u);
  clear(vma);
}

TEST_P(MmuConformance, moved_pages_are_at_the_new_place_only) {
  LooseVma vma(range_, kReadWrite);
  const Address to{0x7000'0000'3000};
  for (const uint64_t p : {0u, 1u, 6u}) put(vma, page_of(range_, p), static_cast<int>(p + 10));
  ASSERT_TRUE(m_->mmu().move(range_, to));
  LooseVma moved({to, to + range_.bytes()}, kReadWrite);
  for (uint64_t p = 0; p < 8; ++p) {
    EXPECT_FALSE(m_->reaches(page_of(range_, p), Access::read));
    const bool there = p == 0 || p == 1 || p == 6;
    EXPECT_EQ(m_->reaches(page_of(moved.range, p), Access::write), there);
    if (there) {
      EXPECT_EQ(get(page_of(moved.range, p)), static_cast<int>(p + 10));
    }
  }
  EXPECT_EQ(m_->pages(), 3u);
  m_->mmu().zap(range_);
  clear(moved);
}

TEST_P(MmuConformance, a_move_that_runs_out_of_memory_can_be_taken_back) {
  const Address to{0x7000'001f'f000};
  for (uint64_t n = 0; n < 4; ++n) {
    LooseVma vma(range_, kReadWrite);
    for (uint64_t p = 0; p < 8; ++p) put(vma, page_of(range_, p), static_cast<int>(p + 20));
    m_->fail_after(n);
    const Result<void> moved = m_->mmu().move(range_, to);
    EXPECT_FALSE(moved) << n;
    ASSERT_TRUE(m_->mmu().move({to, to + range_.bytes()}, range_.start));
    m_->fail_never();
    for (uint64_t p = 0; p < 8; ++p) EXPECT_EQ(get(page_of(range_, p)), static_cast<int>(p + 20));
    LooseVma left({to, to + range_.bytes()}, kReadWrite);
    clear(left);
    clear(vma);
  }
}

TEST_P(MmuConformance, after_a_fork_each_side_sees_only_its_own_writes) {
  LooseVma vma(range_, kReadWrite);
  put(vma, range_.start, 1);
  put(vma, page_of(range_, 7), 2);
  const auto child = m_->make_child();
  ASSERT_TRUE(m_->mmu().copy_to(child->mmu(), vma));
  EXPECT_EQ(m_->pages(), 2u);
  for (MmuUnderTest* side : {m_.get(), child.get()}) {
    EXPECT_FALSE(side->reaches(range_.start, Access::write));
    EXPECT_EQ(side->read(range_.start), std::byte{1});
  }
  ASSERT_EQ(child->touch(vma, range_.start, Access::write), FaultOutcome::resolved);
  EXPECT_EQ(child->read(range_.start), std::byte{1});
  child->write(range_.start, std::byte{50});
  EXPECT_EQ(get(range_.start), 1);
  EXPECT_EQ(m_->pages(), 3u);
  // The parent is the page's last user: it writes without another copy.
  put(vma, range_.start, 60);
  EXPECT_EQ(m_->pages(), 3u);
  EXPECT_EQ(child->read(range_.start), std::byte{50});
  child->mmu().zap(range_);
  child->mmu().free_tables(range_, {Address{0}, Address{uint64_t{1} << 47}});
  EXPECT_EQ(get(page_of(range_, 7)), 2);
  clear(vma);
  EXPECT_EQ(m_->pages(), 0u);
}

TEST_P(MmuConformance, a_fork_that_runs_out_of_memory_leaves_the_parent_whole) {
  for (uint64_t n = 0; n < 4; ++n) {
    LooseVma vma(range_, kReadWrite);
    for (uint64_t p = 0; p < 8; ++p) put(vma, page_of(range_, p), static_cast<int>(p + 1));
    const auto child = m_->make_child();
    m_->fail_after(n);
    EXPECT_FALSE(m_->mmu().copy_to(child->mmu(), vma));
    m_->fail_never();
    child->mmu().zap(range_);
    for (uint64_t p = 0; p < 8; ++p) put(vma, page_of(range_, p) + 1, 7);
    for (uint64_t p = 0; p < 8; ++p) EXPECT_EQ(get(page_of(range_, p)), static_cast<int>(p + 1));
    EXPECT_EQ(m_->pages(), 8u);
    clear(vma);
  }
}

TEST_P(MmuConformance, a_private_page_of_a_file_is_copied_by_its_first_write) {
  const FileRef file = m_->open(std::make_shared<TestObject>(4 * kPageSize, VmaLockSafety::memory));
  LooseVma vma(pages_at(0x10000, 4), kReadWrite, file, 0);
  ASSERT_EQ(m_->touch(vma, vma.start(), Access::read), FaultOutcome::resolved);
  EXPECT_FALSE(m_->reaches(vma.start(), Access::write));
  EXPECT_EQ(m_->read(vma.start() + 4), object_byte(0, 4));
  put(vma, vma.start(), 99);              // a page that was read before
  put(vma, vma.start() + kPageSize, 98);  // and one that was not
  EXPECT_EQ(m_->read(vma.start() + 4), object_byte(0, 4));
  EXPECT_EQ(m_->read(vma.start() + kPageSize + 4), object_byte(1, 4));
  EXPECT_EQ(m_->pages(), 4u);  // two of the file, two copies
  m_->mmu().zap(vma.range);
  ASSERT_EQ(m_->touch(vma, vma.start(), Access::read), FaultOutcome::resolved);
  EXPECT_EQ(m_->read(vma.start()), object_byte(0, 0));
  clear(vma);
}

TEST_P(MmuConformance, shared_mappings_of_a_file_show_each_others_writes) {
  const FileRef file = m_->open(std::make_shared<TestObject>(4 * kPageSize, VmaLockSafety::memory));
  LooseVma a(pages_at(0x10000, 2), kReadWrite | VmaFlag::shared, file, 1);
  LooseVma b(pages_at(0x80000, 4), kReadWrite | VmaFlag::shared, file, 0);
  ASSERT_EQ(m_->touch(b, page_of(b.range, 1), Access::read), FaultOutcome::resolved);
  put(a, a.start() + 3, 120);
  EXPECT_EQ(get(page_of(b.range, 1) + 3), 120);
  EXPECT_EQ(m_->pages(), 1u);
  m_->mmu().zap(a.range);
  ASSERT_EQ(m_->touch(a, a.start(), Access::read), FaultOutcome::resolved);
  EXPECT_EQ(get(a.start() + 3), 120);
  m_->mmu().zap(a.range);
  clear(b);
}

TEST_P(MmuConformance, shared_memory_begins_as_zeros_and_is_shared_with_a_forks_child) {
  const FileRef file = *m_->mmu().create_shared_memory(2 * kPageSize);
  LooseVma vma(pages_at(0x10000, 2), kReadWrite | VmaFlag::shared, file, 0);
  put(vma, vma.start(), 5);
  EXPECT_EQ(get(vma.start() + 1), 0);
  const auto child = m_->make_child();
  ASSERT_TRUE(m_->mmu().copy_to(child->mmu(), vma));
  ASSERT_EQ(child->touch(vma, vma.start(), Access::write), FaultOutcome::resolved);
  EXPECT_EQ(child->read(vma.start()), std::byte{5});
  child->write(vma.start(), std::byte{6});
  EXPECT_EQ(get(vma.start()), 6);
  child->mmu().zap(vma.range);
  clear(vma);
}

TEST_P(MmuConformance, beyond_the_end_of_a_file_is_a_bus_error) {
  const FileRef file = m_->open(std::make_shared<TestObject>(kPageSize + 1, VmaLockSafety::memory));
  for (const VmaFlags flags : {kReadWrite, kReadWrite | VmaFlag::shared}) {
    LooseVma vma(pages_at(0x10000, 4), flags, file, 0);
    EXPECT_EQ(m_->touch(vma, page_of(vma.range, 1), Access::write), FaultOutcome::resolved);
    EXPECT_EQ(m_->touch(vma, page_of(vma.range, 2), Access::read), FaultOutcome::bus_error);
    EXPECT_EQ(m_->touch(vma, page_of(vma.range, 2), Access::write), FaultOutcome::bus_error);
    clear(vma);
  }
}

INSTANTIATE_TEST_SUITE_P(Software, MmuConformance,
                         ::testing::Values(MmuKind{
                             "software", [] { return std::make_unique<SoftMmuUnderTest>(); }}),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace pervma

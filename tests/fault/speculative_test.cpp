// Faults without any lock on the VMA: what is committed, and what falls back.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "sync/mmap_guard.h"
#include "sync/rcu.h"
#include "tests/fault/soft_mmu_under_test.h"

namespace pervma {
namespace {

using namespace test;  // NOLINT: the suite speaks its language

// The MMU under requests whose validation the test has in hand.
class SpeculativeServe : public ::testing::Test {
 protected:
  ~SpeculativeServe() override {
    m_.mmu().zap(range_);
    m_.mmu().free_tables(range_, {Address{0}, Address{uint64_t{1} << 47}});
  }
  FaultStep serve(Address a, Access access) {
    return m_.mmu().serve({vma_, a, access, FaultHold::speculation, {&mm_, *seq_}});
  }
  // Somebody changes the map, any part of it.
  void write_to_the_space() { const MmapWrite write(mm_); }
  void make_table() {
    ASSERT_EQ(m_.touch(vma_, page_of(range_, 7), Access::write), FaultOutcome::resolved);
  }
  PageEntry entry(uint64_t page) { return m_.mmu().entry_at(page_of(range_, page)); }

  MmapLock mm_;
  SoftMmuUnderTest m_;
  const Range range_ = pages_at(0x400000, 8);
  LooseVma vma_{range_, kReadWrite};
  std::optional<uint64_t> seq_ = mm_.speculate_try_begin();
};

TEST_F(SpeculativeServe, commits_an_anonymous_page_while_nobody_has_written) {
  make_table();
  EXPECT_EQ(serve(range_.start, Access::read), FaultStep::resolved);
  EXPECT_TRUE(entry(0).is_zero_page());
  EXPECT_EQ(serve(range_.start, Access::write), FaultStep::resolved);
  EXPECT_TRUE(entry(0).allows(Right::write));
  EXPECT_EQ(serve(page_of(range_, 1), Access::write), FaultStep::resolved);
  EXPECT_EQ(m_.pages(), 3u);
}

TEST_F(SpeculativeServe, commits_nothing_after_a_write_to_the_space) {
  make_table();
  ASSERT_EQ(serve(page_of(range_, 1), Access::read), FaultStep::resolved);
  const uint64_t pages = m_.pages();
  write_to_the_space();
  EXPECT_EQ(serve(range_.start, Access::read), FaultStep::needs_mmap_lock);
  EXPECT_EQ(serve(range_.start, Access::write), FaultStep::needs_mmap_lock);
  EXPECT_TRUE(entry(0).is_none());
  EXPECT_EQ(serve(page_of(range_, 1), Access::write), FaultStep::needs_mmap_lock);
  EXPECT_TRUE(entry(1).is_zero_page());
  EXPECT_EQ(m_.pages(), pages) << "what was made for the commit is given back";
}

TEST_F(SpeculativeServe, gives_no_right_to_a_sole_page_after_a_write_to_the_space) {
  make_table();
  m_.mmu().protect(range_, VmaFlag::read);
  write_to_the_space();
  EXPECT_EQ(serve(page_of(range_, 7), Access::write), FaultStep::needs_mmap_lock);
  EXPECT_FALSE(entry(7).allows(Right::write));
  seq_ = mm_.speculate_try_begin();
  EXPECT_EQ(serve(page_of(range_, 7), Access::write), FaultStep::resolved);
  EXPECT_TRUE(entry(7).allows(Right::write));
}

TEST_F(SpeculativeServe, adds_no_table) {
  const uint64_t tables = m_.pool().in_use(FrameUse::table);
  EXPECT_EQ(serve(range_.start, Access::read), FaultStep::needs_mmap_lock);
  EXPECT_EQ(m_.pool().in_use(FrameUse::table), tables);
}

TEST_F(SpeculativeServe, falls_back_where_the_vma_has_no_identity_or_a_guard_is) {
  ASSERT_EQ(m_.touch(vma_, range_.start, Access::read), FaultOutcome::resolved);
  EXPECT_EQ(serve(page_of(range_, 1), Access::write), FaultStep::needs_anon_vma);
  ASSERT_TRUE(m_.mmu().install_guards({page_of(range_, 2), page_of(range_, 3)}));
  EXPECT_EQ(serve(page_of(range_, 2), Access::read), FaultStep::map_error);
  write_to_the_space();
  EXPECT_EQ(serve(page_of(range_, 2), Access::read), FaultStep::needs_mmap_lock);
}

TEST_F(SpeculativeServe, falls_back_when_no_frame_is_at_hand) {
  make_table();
  m_.fail_after(0);
  EXPECT_EQ(serve(range_.start, Access::write), FaultStep::needs_mmap_lock);
  m_.fail_never();
  EXPECT_EQ(serve(range_.start, Access::write), FaultStep::resolved);
}

TEST_F(SpeculativeServe, falls_back_for_pages_of_files) {
  const FileRef file = m_.open(std::make_shared<TestObject>(8 * kPageSize, VmaLockSafety::memory));
  const LooseVma mapping(range_, kRead, file, 0);
  EXPECT_EQ(m_.mmu().serve({mapping, range_.start, Access::read, FaultHold::speculation, {}}),
            FaultStep::needs_mmap_lock);
}

// The whole way: with its table and its identity there, a page of anonymous memory is faulted in
// without the mmap lock; the faults before fell back and are counted as retries.
TEST(SpeculativeFault, takes_no_mmap_lock_where_table_and_identity_are_there) {
  const auto engine = *Engine::create({.frames = {1000}});
  const auto space = *engine->create_space({.design = Design::speculative});
  const Address a = *space->map({.length = 16 * kPageSize,
                                 .prot = Prot::read | Prot::write,
                                 .flags = MapFlags::private_ | MapFlags::anonymous});
  EXPECT_EQ(space->handle_fault(a, Access::write), FaultOutcome::resolved);
  EXPECT_EQ(space->fault_counters().retry, 1u);
  const uint64_t read = space->lock_counters().read;
  for (uint64_t p = 0; p < 16; ++p) {
    EXPECT_EQ(space->handle_fault(a + p * kPageSize, Access::write), FaultOutcome::resolved);
  }
  EXPECT_EQ(space->lock_counters().read, read);
  EXPECT_EQ(space->fault_counters().success, 16u);
  EXPECT_EQ(space->handle_fault(a, Access::exec), FaultOutcome::access_error);
  EXPECT_EQ(space->fault_counters().success, 17u);
  EXPECT_EQ(space->fault_counters().abort, 0u);
  EXPECT_EQ(space->handle_fault(a + 16 * kPageSize, Access::read), FaultOutcome::map_error);
  EXPECT_EQ(space->fault_counters().abort, 1u);
  EXPECT_FALSE(space->try_read_vma(a)) << "nothing can be pinned";
}

// A list of mappers that says when it is gone.
class WatchedMappers final : public Mappers {
 public:
  explicit WatchedMappers(std::atomic<bool>& gone) noexcept
      : Mappers(LockTracker::Kind::file), gone_(gone) {}

 private:
  ~WatchedMappers() override { gone_.store(true); }
  std::atomic<bool>& gone_;
};

// How liburcu shows that a grace period has begun to wait: its phase has changed.
unsigned long grace_phase() { return CMM_LOAD_SHARED(urcu_bp_gp.ctr) & URCU_BP_GP_CTR_PHASE; }
void wait_for_phase_other_than(unsigned long phase, const std::atomic<bool>& or_gone) {
  while (grace_phase() == phase && !or_gone.load()) std::this_thread::yield();
}

// A speculative fault that copies a page holds its frame and no lock. All mappings of the page, and
// the last reference to their list, go meanwhile; the clock comes by after the list's grace period
// began, and finds the frame still leading to the list.
TEST(SpeculativeFault, a_list_outlasts_who_finds_it_in_a_frame_that_a_fault_still_holds) {
  rcu_barrier();
  rcu_barrier();
  const std::unique_ptr<FramePool> pool = FramePool::create({100});
  std::atomic<bool> gone{false};
  Mappers* const list = new WatchedMappers(gone);
  const Frame frame = pool->alloc(FrameUse::page, Fill::zero);
  pool->set_mappers(frame, list, 0);

  std::atomic<int> step{0};
  std::jthread fault([&] {
    const RcuReader rcu;
    pool->hold(frame);
    step = 1;
    while (step != 2) std::this_thread::yield();
    const FrameHold copied(*pool, frame);
  });
  while (step != 1) std::this_thread::yield();
  const unsigned long before = grace_phase();
  {
    const FrameHold entrys(*pool, frame);
  }
  EXPECT_NE(pool->meta(frame).mappers.load(), nullptr) << "not the last reference";
  list->drop();
  wait_for_phase_other_than(before, gone);
  {
    const RcuReader clock;  // What Reclaim::evict() does.
    const unsigned long first = grace_phase();
    Mappers* const found = pool->meta(frame).mappers.load();
    ASSERT_EQ(found, list);
    step = 2;
    fault.join();
    // The first grace period ends, and the next begins; or the list is gone.
    wait_for_phase_other_than(first, gone);
    EXPECT_FALSE(gone.load());
    const bool is_held = !gone.load() && found->try_hold();
    EXPECT_FALSE(is_held);
  }
  EXPECT_EQ(pool->meta(frame).mappers.load(), nullptr);
  rcu_barrier();
  rcu_barrier();
  EXPECT_TRUE(gone.load());
}

}  // namespace
}  // namespace pervma

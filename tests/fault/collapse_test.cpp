// How huge pages are made: what MADV_COLLAPSE answers, the collapser, and everything at once.
#include <atomic>
#include <functional>
#include <random>
#include <thread>

#include "fault/paged_address_space.h"
#include "tests/fault/failing_store.h"
#include "tests/fault/huge_fixture.h"

namespace pervma {
namespace {

using namespace test;  // NOLINT: the suite speaks its language

class Collapse : public HugePage {};

// What Linux 6.18 answered, case by case.
TEST_P(Collapse, collapse_answers_as_linux_does) {
  const auto one_page = [&](uint64_t p = 0) {
    const Range r = map_huge(4);
    write64(page_of(r, p), 1);
    return r;
  };
  Range r = map_huge(4);
  EXPECT_EQ(collapse(r), EINVAL) << "never written";
  EXPECT_EQ(advise(r, Advice::nohugepage), 0);
  write64(r.start, 1);
  EXPECT_EQ(collapse(part(r, 0, kHuge)), EINVAL) << "advised against";
  EXPECT_EQ(advise(r, Advice::hugepage), 0);
  EXPECT_EQ(collapse(part(r, 0, kHuge)), 0) << "advised for";

  r = one_page();
  EXPECT_EQ(collapse(part(r, 0, kHuge)), 0);
  EXPECT_EQ(collapse(part(r, 0, kHuge)), 0) << "again";
  EXPECT_EQ(collapse(part(r, kHuge, kHuge)), EINVAL) << "nothing there yet";
  EXPECT_EQ(collapse(r), EINVAL) << "one of four";

  r = one_page();
  EXPECT_EQ(collapse(part(r, 0, 1)), 0) << "no whole one, at a boundary";
  EXPECT_EQ(collapse(part(r, 1, kHuge)), 0) << "no whole one, over a boundary";
  EXPECT_EQ(collapse(part(r, 1, 2 * kHuge)), EINVAL) << "nothing there in the whole one";
  EXPECT_EQ(collapse(part(r, kHuge + 1, 1)), EINVAL) << "inside one";
  EXPECT_EQ(collapse(part(r, 0, 0)), 0);
  EXPECT_EQ(huge_pages(), 0u);

  r = one_page(kHuge);
  EXPECT_EQ(read64(r.start), 0u);
  EXPECT_EQ(collapse(part(r, 0, kHuge)), 0) << "only read";
  r = one_page();
  EXPECT_EQ(advise(part(r, 0, 1), Advice::dontneed), 0);
  EXPECT_EQ(collapse(part(r, 0, kHuge)), 0) << "emptied";
  for (const Prot prot : {Prot::read, Prot::none}) {
    r = one_page();
    EXPECT_TRUE(space_->protect(r.start, r.bytes(), prot));
    EXPECT_EQ(collapse(part(r, 0, kHuge)), 0) << "whatever the rights";
  }
  r = one_page();
  EXPECT_TRUE(space_->unmap(page_of(r, kHuge), kHuge * kPageSize));
  write64(page_of(r, 2 * kHuge), 1);
  EXPECT_EQ(collapse(part(r, 0, 3 * kHuge)), ENOMEM) << "a hole";
  EXPECT_EQ(huge_pages(), 2u);
  r = one_page();
  EXPECT_EQ(advise(part(r, 1, 1), Advice::guard_install), 0);
  EXPECT_EQ(collapse(part(r, 0, kHuge)), EINVAL) << "a guard page";
  r = one_page();
  EXPECT_TRUE(space_->lock(r.start, r.bytes(), LockFlags::onfault));
  EXPECT_EQ(collapse(part(r, 0, kHuge)), 0) << "locked";

  EXPECT_TRUE(space_->unmap(kBase, 4 * kHuge * kPageSize));
  r = map_at(kBase, kHuge - 1);
  write64(r.start, 1);
  EXPECT_EQ(collapse(r), EINVAL) << "too short a VMA";
  r = one_page();
  EXPECT_TRUE(space_->protect(page_of(r, kHuge / 2), kPageSize, Prot::read));
  EXPECT_EQ(collapse(part(r, 0, kHuge)), EINVAL) << "cut in its middle";
  for (const MapFlags type : {MapFlags::shared, MapFlags::private_}) {
    file_ =
        *engine_->open(std::make_shared<TestObject>(4 * kHuge * kPageSize, VmaLockSafety::memory),
                       FileMode::read_write);
    r = map_file(file_, 4 * kHuge, type);
    write64(r.start, 1);
    EXPECT_EQ(collapse(r), EINVAL) << "a file";
  }
}

TEST_P(Collapse, a_space_that_refuses_them_answers_so) {
  SpaceOptions options;
  options.design = GetParam();
  options.huge_pages = HugePages::refused;
  space_ = *engine_->create_space(options);
  const Range r = filled(1);
  EXPECT_EQ(advise(r, Advice::hugepage), 0);
  EXPECT_EQ(collapse(r), EINVAL);
  EXPECT_EQ(engine_->collapse_some(100), 0u);
}

// --- no memory ----------------------------------------------------------------------------------

class SmallPool : public HugePage {
 protected:
  SmallPool() : HugePage(EngineOptions{.frames = {1600}}) {}
};

TEST_P(SmallPool, without_a_block_nothing_changes) {
  const Range r = filled(2);  // 1024 pages: no 512 in a row are left
  EXPECT_EQ(collapse(r), ENOMEM);
  EXPECT_EQ(huge_pages(), 0u);
  expect_filled(r);
  EXPECT_EQ(space_->check(), "");
}

class SixBlocks : public HugePage {
 protected:
  SixBlocks() : HugePage(EngineOptions{.frames = {7 * kHuge}}) {}
};

// What was small pages is a block again when all of it is free.
TEST_P(SixBlocks, blocks_form_again_from_single_frames) {
  for (int round = 0; round < 3; ++round) {
    const Range r = map_huge(1);
    write64(r.start, 1);
    ASSERT_EQ(collapse(r), 0) << round;
    for (uint64_t p = 0; p < kHuge; p += 2) {
      ASSERT_EQ(advise(part(r, p, 1), Advice::dontneed), 0);
    }
    EXPECT_EQ(huge_pages(), 0u);
    // Every frame is used as a small one in between.
    const Range all = map_at(kBase + kHugePageSize, 7 * kHuge);
    uint64_t p = 0;
    while (p < 7 * kHuge && fault(page_of(all, p), Access::write) == FaultOutcome::resolved) ++p;
    EXPECT_GT(p, 6 * kHuge - 20);
    ASSERT_TRUE(space_->unmap(all.start, all.bytes()));
    ASSERT_TRUE(space_->unmap(r.start, r.bytes()));
  }
}

TEST_P(SmallPool, any_allocation_may_fail) {
  const Range r = filled(1);
  int failures = 0;
  for (uint64_t n = 0; n < 10; ++n) {
    frames().fail_after(n);
    const int error = collapse(r);
    frames().fail_never();
    expect_filled(r);
    ASSERT_EQ(space_->check(), "");
    if (error == 0) break;
    ASSERT_EQ(error, ENOMEM);
    ++failures;
  }
  EXPECT_EQ(failures, 2) << "the block and the table";
  for (uint64_t n = 0; n < 100; ++n) {
    frames().fail_after(n);
    const auto child = engine_->fork(*space_);
    frames().fail_never();
    ASSERT_EQ(huge_pages(), 1u);
    if (!child) continue;
    expect_filled(**child, r, 0, kHuge);
    break;
  }
  for (uint64_t n = 0; n < 10; ++n) {
    const Address to = kBase + (uint64_t{1} << 40);
    frames().fail_after(n);
    const auto moved = space_->remap({.old_address = r.start,
                                      .old_length = r.bytes(),
                                      .new_length = r.bytes(),
                                      .flags = RemapFlags::maymove | RemapFlags::fixed,
                                      .new_address = to});
    frames().fail_never();
    ASSERT_EQ(space_->check(), "");
    ASSERT_EQ(huge_pages(), 1u);
    if (!moved) continue;
    for (uint64_t p = 0; p < kHuge; ++p) ASSERT_EQ(read64(to + p * kPageSize), p + 1);
    break;
  }
}

// --- the collapser ------------------------------------------------------------------------------

TEST_P(Collapse, the_collapser_takes_what_was_advised_and_is_half_there) {
  const Range r = map_huge(4);
  for (uint64_t p = 0; p < 3 * kHuge; ++p) write64(page_of(r, p), p + 1);
  write64(page_of(r, 3 * kHuge), 1);
  EXPECT_EQ(engine_->collapse_some(100), 0u) << "nobody asked for it";
  ASSERT_EQ(advise(part(r, kHuge, 3 * kHuge), Advice::hugepage), 0);
  EXPECT_EQ(engine_->collapse_some(100), 2u) << "the last is empty but for a page";
  EXPECT_EQ(engine_->collapse_some(100), 0u);
  EXPECT_EQ(huge_pages(), 2u);
  ASSERT_EQ(advise(part(r, kHuge, kHuge), Advice::nohugepage), 0);
  ASSERT_EQ(advise(part(r, kHuge, 1), Advice::dontneed), 0);
  EXPECT_EQ(huge_pages(), 1u);
  EXPECT_EQ(engine_->collapse_some(100), 0u) << "advised against";
  expect_filled(*space_, r, kHuge + 1, 3 * kHuge);
}

TEST_P(Collapse, the_collapser_takes_all_that_is_not_advised_against_where_it_may) {
  SpaceOptions options;
  options.design = GetParam();
  options.huge_pages = HugePages::always;
  const auto other = std::move(space_);
  space_ = *engine_->create_space(options);
  const Range r = filled(3);
  ASSERT_EQ(advise(part(r, 0, kHuge), Advice::nohugepage), 0);
  uint64_t made = 0;
  for (int step = 0; step < 10; ++step) made += engine_->collapse_some(1);
  EXPECT_EQ(made, 2u) << "one place at a step";
  EXPECT_EQ(huge_pages(), 2u);
  expect_filled(r);
  // A child inherits the way.
  const auto child = *engine_->fork(*space_);
  for (uint64_t p = 0; p < kHuge; ++p) write64(*child, page_of(r, kHuge + p), 1);
  EXPECT_EQ(huge_pages(*child), 1u);
  EXPECT_EQ(engine_->collapse_some(100), 1u);
  EXPECT_EQ(huge_pages(*child), 2u);
  expect_filled(r);
}

class HugeThread : public HugePage {
 protected:
  HugeThread() : HugePage(EngineOptions{.frames = {10'000}, .collapser = CollapserKind::thread}) {}
};

TEST_P(HugeThread, collapses_beside_the_program) {
  const Range r = filled(2);
  ASSERT_EQ(advise(r, Advice::hugepage), 0);
  while (huge_pages() != 2) std::this_thread::yield();
  expect_filled(r);
}

// Calls back at the start of the first change that it is told of.
class AtStart final : public PageNotifier {
 public:
  explicit AtStart(std::function<void()> run) : run_(std::move(run)) {}
  void invalidate_start(Range) noexcept override {
    if (!ran_.exchange(true)) run_();
  }
  void invalidate_end(Range) noexcept override {}

 private:
  const std::function<void()> run_;
  std::atomic<bool> ran_{false};
};

// Gives `other` the time to come to its end, if nothing holds it up.
void let_run(const std::atomic<bool>& other) {
  for (int i = 0; i < 100 && !other.load(); ++i) std::this_thread::yield();
}

// It would find a place before its pages go, and make it a huge page of zeros afterwards.
TEST_P(Collapse, the_collapser_has_left_a_space_that_exits) {
  const Range r = filled(1);
  ASSERT_EQ(advise(r, Advice::hugepage), 0);
  std::atomic<bool> done{false};  // The collapser may be at work when its start is over.
  std::jthread collapser;
  AtStart at_start([&] {
    collapser = std::jthread([&] {
      EXPECT_EQ(engine_->collapse_some(100), 0u);
      done = true;
    });
    let_run(done);
    if (done) collapser.join();
  });
  ASSERT_TRUE(space_->add_notifier(at_start));
  space_->exit();
  if (collapser.joinable()) collapser.join();
  space_->remove_notifier(at_start);
}

// A fork puts a huge page into the child when it is the parent's no more alone. Who comes from its
// frames meets it in both, or as it was: between the two he would think that all have seen him.
TEST_P(Collapse, a_fork_shares_a_huge_page_under_the_lock_of_its_mappers) {
  const Range r = collapsed(1);
  const auto number = static_cast<uint32_t>(
      (space_->translate(r.start, Access::read) - frames().data(Frame{0})) >> kPageShift);
  Mappers* const list = frames().meta(Frame{number}).mappers.load();
  std::atomic<int> step{0};
  std::atomic<bool> forked{false};
  AtStart at_start([&] {
    step = 1;
    while (step != 2) std::this_thread::yield();
  });
  ASSERT_TRUE(space_->add_notifier(at_start));
  std::unique_ptr<AddressSpace> child;
  std::jthread fork([&] {
    child = *engine_->fork(*space_);
    forked = true;
  });
  while (step != 1) std::this_thread::yield();
  {
    const MappersGuard goer(list);
    step = 2;
    let_run(forked);
    EXPECT_FALSE(forked.load());
    EXPECT_NE(space_->translate(r.start, Access::write), nullptr) << "not shared yet";
  }
  fork.join();
  EXPECT_EQ(space_->translate(r.start, Access::write), nullptr);
  EXPECT_EQ(child->check(), "");
  expect_filled(*child, r, 0, kHuge);
  space_->remove_notifier(at_start);
}

// --- R13 ----------------------------------------------------------------------------------------

// Collapse trusts what it read of the page table before the VMA was its own. A page that is dropped
// under the VMA's read lock while collapse waits for that lock stays dropped.
TEST(R13, collapse_reads_the_page_table_only_when_it_has_the_vma) {
  const auto engine = *Engine::create({.frames = {4000}});
  const auto space = *engine->create_space({.design = Design::refcount});
  auto& paged = static_cast<PagedAddressSpace<RefcountLock>&>(*space);
  ASSERT_TRUE(space->map(
      {.address = kBase, .length = kHugePageSize, .prot = kRw, .flags = kAnon | MapFlags::fixed}));
  for (uint64_t p = 0; p < kHuge; ++p) {
    const uint64_t value = p + 1;
    ASSERT_EQ(space->store(kBase + p * kPageSize, bytes_of(value)), FaultOutcome::resolved);
  }
  const auto found = paged.lock_vma_under_rcu(kBase);
  ASSERT_EQ(found.end, LookupEnd::locked);
  std::jthread collapser(
      [&] { EXPECT_TRUE(space->advise(kBase, kHugePageSize, Advice::collapse)); });
  // It waits for this reader: nobody else gets in any more.
  while (space->try_read_vma(kBase)) std::this_thread::yield();
  const_cast<SoftMmu&>(paged.mmu()).discard(pages_at(kBase.value + 3 * kPageSize, 1));
  PagedAddressSpace<RefcountLock>::end_read(*found.vma, found.token);
  collapser.join();
  EXPECT_EQ(space->statistics().pages.huge, kHuge);
  for (uint64_t p = 0; p < kHuge; ++p) {
    uint64_t value = 0;
    ASSERT_EQ(space->load(kBase + p * kPageSize, writable_bytes_of(value)), FaultOutcome::resolved);
    ASSERT_EQ(value, p == 3 ? 0 : p + 1);
  }
  EXPECT_EQ(space->check(), "");
}

// --- all at once --------------------------------------------------------------------------------

// Threads that each know every word of their own pages, cut and drop them, while others collapse
// all of it, and forks look at it.
class HugeTorture : public ::testing::TestWithParam<Design> {
 protected:
  static constexpr uint64_t kRegions = 3;
  static constexpr uint64_t kThreads = 3;
  static constexpr int kRounds = 100;
  static constexpr Range kAll{kBase, kBase + kRegions* kHugePageSize};

  // One page in kThreads is a thread's.
  struct Owner {
    AddressSpace& space;
    uint64_t self;
    std::mt19937_64 random;
    std::array<uint64_t, kRegions * kHuge> words{};
    std::array<bool, kRegions * kHuge> readonly{};

    void step() {
      const uint64_t page = random() % (kRegions * kHuge / kThreads) * kThreads + self;
      const Address a = page_of(kAll, page);
      uint64_t value = 0;
      switch (random() % 12) {
        case 0:
          ASSERT_TRUE(space.advise(a, kPageSize, Advice::dontneed));
          words[page] = 0;
          return;
        case 1:
          ASSERT_TRUE(space.unmap(a, kPageSize));
          ASSERT_EQ(space.load(a, writable_bytes_of(value)), FaultOutcome::map_error);
          ASSERT_TRUE(space.map(
              {.address = a, .length = kPageSize, .prot = kRw, .flags = kAnon | MapFlags::fixed}));
          words[page] = 0;
          readonly[page] = false;
          return;
        case 2:
          // Rights that last keep a region from being one VMA: in the last region only.
          if (page < 2 * kHuge) {
            ASSERT_TRUE(space.protect(a, kPageSize, Prot::read));
            ASSERT_TRUE(space.protect(a, kPageSize, kRw));
            return;
          }
          readonly[page] = !readonly[page];
          ASSERT_TRUE(space.protect(a, kPageSize, readonly[page] ? Prot::read : kRw));
          return;
        case 3:
        case 4:
        case 5:
        case 6: {
          value = random();
          const FaultOutcome outcome = space.store(a + 8 * (value % 512), bytes_of(value));
          const FaultOutcome second = space.store(a, bytes_of(value));
          ASSERT_EQ(outcome, second);
          ASSERT_EQ(outcome, readonly[page] ? FaultOutcome::access_error : FaultOutcome::resolved);
          if (!readonly[page]) words[page] = value;
          return;
        }
        default: look(page);
      }
    }
    void look(uint64_t page) {
      uint64_t value = 0;
      ASSERT_EQ(space.load(page_of(kAll, page), writable_bytes_of(value)), FaultOutcome::resolved);
      ASSERT_EQ(value, words[page]) << page;
    }
  };
};

TEST_P(HugeTorture, every_word_is_what_its_owner_stored_last) {
  const auto store = make_store(StoreKind::lz4, {20'000});
  const auto engine = *Engine::create({.frames = {6'000}, .swap = store});
  SpaceOptions options;
  options.design = GetParam();
  options.huge_pages = HugePages::always;
  auto space = *engine->create_space(options);
  ASSERT_TRUE(space->map({.address = kAll.start,
                          .length = kAll.bytes(),
                          .prot = kRw,
                          .flags = kAnon | MapFlags::fixed}));
  std::vector<std::unique_ptr<Owner>> owners;
  owners.reserve(kThreads);
  for (uint64_t t = 0; t < kThreads; ++t) {
    owners.push_back(std::make_unique<Owner>(*space, t, std::mt19937_64(t * 31 + 7)));
  }
  for (uint64_t r = 0; r < kRegions; ++r) {
    const uint64_t zero = 0;
    ASSERT_EQ(space->store(kBase + r * kHugePageSize, bytes_of(zero)), FaultOutcome::resolved);
  }
  ASSERT_TRUE(space->advise(kAll.start, kAll.bytes(), Advice::collapse));
  int huge = 0;
  {
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (auto& o : owners) {
      threads.emplace_back([&o](const std::stop_token& stop) {
        while (!stop.stop_requested() && !HasFatalFailure()) o->step();
      });
    }
    std::mt19937_64 random(99);
    for (int round = 0; round < kRounds || (huge < 10 && round < 4 * kRounds); ++round) {
      if (HasFatalFailure()) break;
      std::this_thread::yield();
      const Address region = kBase + random() % kRegions * kHugePageSize;
      switch (round % 8) {
        case 0: (void)space->advise(region, kHugePageSize, Advice::pageout); break;
        case 1: (void)space->advise(region, kHugePageSize, Advice::cold); break;
        case 2: {
          const auto child = engine->fork(*space);
          if (!child) break;
          for (int i = 0; i < 50; ++i) {
            const uint64_t value = random();
            (void)(*child)->store(region + value % kHuge * kPageSize, bytes_of(value));
          }
          (void)(*child)->advise(region, kHugePageSize, Advice::collapse);
          ASSERT_EQ((*child)->check(), "");
          break;
        }
        case 3: (void)engine->collapse_some(8); break;
        default:
          if (space->advise(region, kHugePageSize, Advice::collapse)) ++huge;
      }
    }
  }
  for (auto& o : owners) {
    for (uint64_t p = o->self; p < kRegions * kHuge; p += kThreads) o->look(p);
  }
  EXPECT_EQ(space->check(), "");
  space.reset();
  engine->quiesce();
  EXPECT_EQ(engine->frames_used(), PageCount{0});
  EXPECT_EQ(engine->swap_counters().slots, 0u);
}

INSTANTIATE_TEST_SUITE_P(Designs, Collapse, ::testing::ValuesIn(kDesigns), test::design_of);
INSTANTIATE_TEST_SUITE_P(Designs, SmallPool, ::testing::ValuesIn(kDesigns), test::design_of);
INSTANTIATE_TEST_SUITE_P(Designs, SixBlocks, ::testing::ValuesIn(kDesigns), test::design_of);
INSTANTIATE_TEST_SUITE_P(Designs, HugeThread, ::testing::ValuesIn(kDesigns), test::design_of);
INSTANTIATE_TEST_SUITE_P(Designs, HugeTorture, ::testing::ValuesIn(kDesigns), test::design_of);

}  // namespace
}  // namespace pervma

// Pages that leave memory for a store and come back.
#include <array>
#include <numeric>
#include <random>
#include <thread>

#include "fault/paged_address_space.h"
#include "pervma/c.h"
#include "sync/rcu.h"
#include "tests/fault/failing_store.h"
#include "tests/fault/gate.h"
#include "tests/fault/space_fixture.h"

namespace pervma {
namespace {

using namespace test;  // NOLINT: the suite speaks its language

// --- stores -------------------------------------------------------------------------------------

class Store : public ::testing::TestWithParam<StoreKind> {};

TEST_P(Store, gives_back_what_it_was_given) {
  const auto store = make_store(GetParam(), {64});
  std::mt19937_64 random(5);
  // A word again and again, text that compresses, noise that does not.
  alignas(kPageSize) std::array<std::array<std::byte, kPageSize>, 4> pages{};
  pages[1].fill(std::byte{7});
  for (size_t i = 0; i < kPageSize; ++i)
    pages[2][i] = static_cast<std::byte>("page store "[i % 11]);
  for (std::byte& b : pages[3]) b = static_cast<std::byte>(random());
  for (int round = 0; round < 2; ++round) {
    for (uint64_t i = 0; i < 4; ++i) ASSERT_TRUE(store->write(i * 16 + 1, pages[i]));
    for (uint64_t i = 0; i < 4; ++i) {
      alignas(kPageSize) std::array<std::byte, kPageSize> back;
      ASSERT_TRUE(store->read(i * 16 + 1, back));
      EXPECT_EQ(back, pages[i]) << i;
      store->discard(i * 16 + 1);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Store,
                         ::testing::Values(StoreKind::lz4, StoreKind::zstd, StoreKind::file));

TEST(CompressedStore, takes_no_more_memory_than_it_may) {
  const auto store = *make_compressed_store({.capacity = {100}, .memory = 3 * kPageSize});
  std::mt19937_64 random(5);
  std::array<std::byte, kPageSize> noise;
  for (std::byte& b : noise) b = static_cast<std::byte>(random());
  for (uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(store->write(i, noise));
  EXPECT_EQ(store->write(3, noise).error(), Error::nomem);
  store->discard(1);
  EXPECT_TRUE(store->write(3, noise));
}

TEST(CompressedStore, is_made_for_c_too) {
  pervma_page_store* store = nullptr;
  EXPECT_EQ(pervma_compressed_store_create(PERVMA_ZSTD + 1, 10, kPageSize, &store), EINVAL);
  EXPECT_EQ(pervma_compressed_store_create(PERVMA_LZ4, 10, kPageSize, nullptr), EINVAL);
  ASSERT_EQ(pervma_compressed_store_create(PERVMA_ZSTD, 1'000, 4'000'000, &store), 0);
  pervma_engine* engine = nullptr;
  const pervma_engine_options options{.size = sizeof options,
                                      .reserved = 0,
                                      .frames = 64,
                                      .present = 0,
                                      .swap = store,
                                      .collapser_thread = 0,
                                      .reserved2 = 0};
  ASSERT_EQ(pervma_engine_create(&options, &engine), 0);
  pervma_page_store_destroy(store);
  pervma_engine_stats stats{};
  stats.size = sizeof stats;
  EXPECT_EQ(pervma_engine_get_stats(engine, &stats), 0);
  EXPECT_EQ(stats.frames_used, 0u);
  pervma_engine_destroy(engine);
}

TEST(FileStore, tells_why_it_cannot_be_made) {
  EXPECT_EQ(make_file_store("/nowhere/at/all", {10}).error(), Error::noent);
  EXPECT_EQ(make_file_store("/tmp/pervma_swap", {0}).error(), Error::inval);
}

// --- engines with a store -----------------------------------------------------------------------

constexpr uint64_t kFrames = 160;

class SwapTest : public SpaceFixture {
 protected:
  SwapTest() : SwapTest(make_store(StoreKind::lz4, {2'000})) {}
  explicit SwapTest(std::shared_ptr<FailingStore> store)
      : SpaceFixture({.frames = {kFrames}, .swap = store}), store_(std::move(store)) {}
  ~SwapTest() override {
    space_.reset();
    engine_->quiesce();
    EXPECT_EQ(engine_->swap_counters().slots, 0u);
  }
  SwapCounters counters() const { return engine_->swap_counters(); }
  void page_out(Range r) { ASSERT_TRUE(space_->advise(r.start, r.bytes(), Advice::pageout)); }
  uint64_t swapped() const { return space_->statistics().pages.swapped; }

  std::shared_ptr<FailingStore> store_;
};

class SwapToFile : public SwapTest {
 protected:
  SwapToFile() : SwapTest(make_store(StoreKind::file, {2'000})) {}
};

TEST_P(SwapTest, more_is_written_than_there_is_memory_and_nothing_is_lost) {
  const Range r = map(4 * kFrames);
  for (uint64_t p = 0; p < 4 * kFrames; ++p) write64(page_of(r, p), p + 1);
  for (uint64_t p = 0; p < 4 * kFrames; ++p) ASSERT_EQ(read64(page_of(r, p)), p + 1);
  EXPECT_GE(counters().out, 3 * kFrames);
  EXPECT_GE(counters().in, 3 * kFrames);
  EXPECT_EQ(space_->check(), "");
}

TEST_P(SwapToFile, more_is_written_than_there_is_memory_and_nothing_is_lost) {
  const Range r = map(4 * kFrames);
  for (uint64_t p = 0; p < 4 * kFrames; ++p) write64(page_of(r, p), p + 1);
  for (uint64_t p = 0; p < 4 * kFrames; ++p) ASSERT_EQ(read64(page_of(r, p)), p + 1);
  EXPECT_GE(counters().out, 3 * kFrames);
}

TEST_P(SwapTest, pages_sent_out_are_not_resident_and_come_back_under_the_vma_lock) {
  const Range r = map(8);
  for (uint64_t p = 0; p < 6; ++p) write64(page_of(r, p), p + 1);
  page_out(r);
  EXPECT_EQ(swapped(), 6u);
  std::vector<uint8_t> there(8);
  ASSERT_TRUE(space_->residency(r.start, r.bytes(), there));
  EXPECT_EQ(there, std::vector<uint8_t>(8, 0));
  engine_->quiesce();
  EXPECT_EQ(engine_->frames_used(), PageCount{0});
  const FaultCounters before = space_->fault_counters();
  EXPECT_EQ(fault(page_of(r, 2), Access::read), FaultOutcome::resolved);
  EXPECT_EQ(fault(page_of(r, 3), Access::write), FaultOutcome::resolved);
  EXPECT_EQ(space_->fault_counters().success - before.success, has_vma_locks() ? 2u : 0u);
  EXPECT_EQ(swapped(), 4u);
  EXPECT_EQ(counters().slots, 4u);
  EXPECT_EQ(read64(page_of(r, 2)), 3u);
  EXPECT_EQ(read64(page_of(r, 3)), 4u);
}

TEST_P(SwapToFile, a_page_that_must_be_waited_for_is_read_without_the_vma_lock) {
  const Range r = map(2);
  write64(r.start, 5);
  page_out(r);
  const FaultCounters before = space_->fault_counters();
  EXPECT_EQ(fault(r.start, Access::read), FaultOutcome::resolved);
  EXPECT_EQ(space_->fault_counters().retry - before.retry,
            GetParam() != Design::mmap_lock ? 1u : 0u);
  EXPECT_EQ(read64(r.start), 5u);
}

TEST_P(SwapToFile, who_waits_for_anothers_read_can_be_stopped) {
  const Range r = map(1);
  write64(r.start, 5);
  page_out(r);
  Gate gate;
  store_->before_read = [&] { gate.pass(); };
  std::jthread reader([&] { EXPECT_EQ(fault(r.start, Access::read), FaultOutcome::resolved); });
  gate.wait_for_one();
  FaultOutcome outcome = FaultOutcome::bus_error;
  EXPECT_TRUE(ends_when_stopped(gate, [&](const std::stop_token& stop) {
    outcome = space_->handle_fault(r.start, Access::read, FaultOrigin::user, stop);
  }));
  EXPECT_EQ(outcome, FaultOutcome::interrupted);
  reader.join();
  EXPECT_EQ(read64(r.start), 5u);
}

TEST_P(SwapTest, who_waits_for_memory_can_be_stopped) {
  store_->fail_writes.store(1);
  const Range r = map(2 * kFrames);
  uint64_t p = 0;
  while (fault(page_of(r, p), Access::write) == FaultOutcome::resolved) ++p;
  std::stop_source source;
  source.request_stop();
  EXPECT_EQ(
      space_->handle_fault(page_of(r, p), Access::write, FaultOrigin::kernel, source.get_token()),
      FaultOutcome::interrupted);
  EXPECT_EQ(engine_->fork(*space_, source.get_token()).error(), Error::intr);
  store_->fail_writes.store(0);
}

// Under the mmap lock too: the page was waited for, and is being read again.
TEST(StoppedRead, under_the_mmap_lock_is_stopped_as_well) {
  const auto store = make_store(StoreKind::file, {8});
  const auto engine = *Engine::create({.frames = {kFrames}, .swap = store});
  const auto space = *engine->create_space({.design = Design::refcount});
  auto& paged = static_cast<PagedAddressSpace<RefcountLock>&>(*space);
  const auto object = std::make_shared<TestObject>(kPageSize, VmaLockSafety::audited);
  for (const bool swapped : {false, true}) {
    SCOPED_TRACE(swapped);
    Gate gate;
    Address a{};
    if (swapped) {
      a = *space->map({.length = kPageSize, .prot = kRw, .flags = kAnon});
      const uint64_t value = 5;
      ASSERT_EQ(space->store(a, bytes_of(value)), FaultOutcome::resolved);
      ASSERT_TRUE(space->advise(a, kPageSize, Advice::pageout));
      store->before_read = [&] { gate.pass(); };
    } else {
      a = *space->map({.length = kPageSize,
                       .prot = Prot::read,
                       .flags = MapFlags::shared,
                       .file = *engine->open(object, FileMode::read_only)});
      object->before_read = [&](uint64_t) { gate.pass(); };
    }
    std::jthread reader(
        [&] { EXPECT_EQ(space->handle_fault(a, Access::read), FaultOutcome::resolved); });
    gate.wait_for_one();
    FaultStep step = FaultStep::resolved;
    EXPECT_TRUE(ends_when_stopped(gate, [&](const std::stop_token& stop) {
      const FaultRequest request{
          *paged.vma_at(a), a, Access::read, FaultHold::mmap_lock_may_wait, {}, &stop};
      step = const_cast<SoftMmu&>(paged.mmu()).serve(request);
    }));
    EXPECT_EQ(step, FaultStep::interrupted);
  }
}

// Who waits has no lock, but a slot, and for a moment the frame: it leads to the list of a VMA that
// another fault has given the page to, and that may be gone.
TEST(AwaitedPage, who_waits_for_a_page_keeps_the_list_that_it_leads_to) {
  const auto engine =
      *Engine::create({.frames = {kFrames}, .swap = make_store(StoreKind::file, {8})});
  const auto space = *engine->create_space({.design = Design::refcount});
  const Address a = *space->map({.length = kPageSize, .prot = kRw, .flags = kAnon});
  const uint64_t value = 5;
  ASSERT_EQ(space->store(a, bytes_of(value)), FaultOutcome::resolved);
  ASSERT_TRUE(space->advise(a, kPageSize, Advice::pageout));
  auto& paged = static_cast<PagedAddressSpace<RefcountLock>&>(*space);
  const VmaFields& vma = *paged.vma_at(a);
  Mappers* const list = vma.mappers();
  {
    const AwaitedPage page = const_cast<SoftMmu&>(paged.mmu()).awaited(vma, a);
    ASSERT_TRUE(space->unmap(a, kPageSize));
    const RcuReader rcu;
    ASSERT_TRUE(list->try_hold());
    list->drop();
  }
  EXPECT_EQ(engine->swap_counters().slots, 0u);
}

TEST_P(SwapTest, what_is_in_the_store_survives_fork_move_and_protection) {
  const Range r = map(6);
  for (uint64_t p = 0; p < 6; ++p) write64(page_of(r, p), p + 1);
  page_out(r);
  auto child = *engine_->fork(*space_);
  EXPECT_EQ(counters().slots, 6u);
  write64(page_of(r, 1), 100);
  EXPECT_EQ(read64(*child, page_of(r, 1)), 2u);
  write64(*child, page_of(r, 2), 200);
  EXPECT_EQ(read64(page_of(r, 2)), 3u);
  ASSERT_TRUE(space_->protect(r.start, r.bytes(), Prot::read));
  EXPECT_EQ(read64(page_of(r, 3)), 4u);
  uint64_t value = 0;
  EXPECT_EQ(space_->store(page_of(r, 4), bytes_of(value)), FaultOutcome::access_error);
  const Range to = map(6, Prot::none);
  ASSERT_TRUE(space_->remap({.old_address = r.start,
                             .old_length = r.bytes(),
                             .new_length = r.bytes(),
                             .flags = RemapFlags::maymove | RemapFlags::fixed,
                             .new_address = to.start}));
  EXPECT_EQ(read64(page_of(to, 4)), 5u);
  EXPECT_EQ(read64(page_of(to, 1)), 100u);
  EXPECT_EQ(space_->check(), "");
  EXPECT_EQ(child->check(), "");
  // Shared by both sides again, and sent out from there.
  child.reset();
  child = *engine_->fork(*space_);
  for (int i = 0; i < 4; ++i) (void)soft().reclaim()->make_room();
  for (uint64_t p : {0u, 3u, 5u}) {
    EXPECT_EQ(read64(*child, page_of(to, p)), p + 1);
    EXPECT_EQ(read64(page_of(to, p)), p + 1);
  }
}

TEST_P(SwapTest, a_page_that_cannot_be_written_stays_in_memory) {
  const Range r = map(4);
  for (uint64_t p = 0; p < 4; ++p) write64(page_of(r, p), p + 1);
  store_->fail_writes = 1;
  page_out(r);
  EXPECT_EQ(counters().write_errors, 4u);
  EXPECT_EQ(engine_->frames_used(), PageCount{4});
  for (uint64_t p = 0; p < 4; ++p) EXPECT_EQ(read64(page_of(r, p)), p + 1);
  write64(r.start, 9);
  EXPECT_EQ(read64(r.start), 9u);
  store_->fail_writes = 0;
  page_out(r);
  EXPECT_EQ(swapped(), 4u);
  EXPECT_EQ(read64(r.start), 9u);
}

TEST_P(SwapTest, a_page_that_cannot_be_read_is_a_bus_error_and_the_others_are_fine) {
  for (int kind = 0; kind < 2; ++kind) {
    const Range r = map(3);
    for (uint64_t p = 0; p < 3; ++p) write64(page_of(r, p), p + 1);
    page_out(r);
    (void)read64(page_of(r, 0));
    store_->fail_reads = 1;
    EXPECT_EQ(fault(page_of(r, 1), Access::read), FaultOutcome::bus_error);
    EXPECT_EQ(read64(page_of(r, 0)), 1u);
    store_->fail_reads = 0;
    EXPECT_EQ(read64(page_of(r, 1)), 2u);
    ASSERT_TRUE(space_->unmap(r.start, r.bytes()));
  }
  EXPECT_EQ(counters().read_errors, 2u);
}

TEST_P(SwapTest, without_room_in_the_store_a_fault_is_out_of_memory_and_the_rest_is_there) {
  store_->fail_writes = 1;
  const Range r = map(2 * kFrames);
  uint64_t written = 0;
  uint64_t value = 7;
  while (written < 2 * kFrames &&
         space_->store(page_of(r, written), bytes_of(value)) == FaultOutcome::resolved) {
    ++written;
  }
  EXPECT_LT(written, kFrames);
  EXPECT_GT(written, kFrames / 2);
  for (uint64_t p = 0; p < written; ++p) ASSERT_EQ(read64(page_of(r, p)), 7u);
  store_->fail_writes = 0;
}

TEST_P(SwapTest, a_fork_whose_tables_find_no_room_changes_nothing) {
  store_->fail_writes = 1;
  // A page here and there: the child's tables alone are more than what is left.
  const Range r = map(60 * 512);
  uint64_t value = 3;
  for (uint64_t i = 0; i < 60; ++i) {
    ASSERT_EQ(space_->store(page_of(r, i * 512), bytes_of(value)), FaultOutcome::resolved) << i;
  }
  const Result<std::unique_ptr<AddressSpace>> child = engine_->fork(*space_);
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error(), Error::nomem);
  for (uint64_t i = 0; i < 60; ++i) ASSERT_EQ(read64(page_of(r, i * 512)), 3u);
  EXPECT_EQ(space_->check(), "");
  store_->fail_writes = 0;
}

TEST_P(SwapTest, locked_memory_stays) {
  const Range locked = map(8);
  ASSERT_TRUE(space_->lock(locked.start, locked.bytes()));
  const Range r = map(3 * kFrames);
  for (uint64_t p = 0; p < 3 * kFrames; ++p) write64(page_of(r, p), p);
  std::vector<uint8_t> there(8);
  ASSERT_TRUE(space_->residency(locked.start, locked.bytes(), there));
  EXPECT_EQ(there, std::vector<uint8_t>(8, 1));
}

// A page that is used between two turns of the clock stays; one that is not goes.
TEST_P(SwapTest, a_page_in_use_gets_a_second_chance) {
  const Range r = map(40);
  for (uint64_t p = 0; p < 40; ++p) write64(page_of(r, p), p);
  ASSERT_TRUE(space_->advise(r.start, r.bytes(), Advice::cold));
  for (uint64_t p = 0; p < 8; ++p) (void)read64(page_of(r, p));
  (void)soft().reclaim()->make_room();
  std::vector<uint8_t> there(40);
  ASSERT_TRUE(space_->residency(r.start, r.bytes(), there));
  EXPECT_EQ(std::accumulate(there.begin(), there.begin() + 8, 0), 8);
  EXPECT_EQ(std::accumulate(there.begin() + 8, there.end(), 0), 0);
}

INSTANTIATE_TEST_SUITE_P(Designs, SwapTest, ::testing::ValuesIn(kDesigns), test::design_of);
INSTANTIATE_TEST_SUITE_P(Designs, SwapToFile, ::testing::ValuesIn(kDesigns), test::design_of);

}  // namespace
}  // namespace pervma

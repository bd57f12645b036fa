#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "fault/soft_engine.h"
#include "sync/lock_tracker.h"
#include "tests/fault/gate.h"
#include "tests/fault/support.h"

namespace pervma {
namespace {

using namespace test;  // NOLINT: the suite speaks its language

constexpr MapFlags kAnon = MapFlags::private_ | MapFlags::anonymous;
constexpr MapFlags kSharedAnon = MapFlags::shared | MapFlags::anonymous;
constexpr Prot kRw = Prot::read | Prot::write;

class FaultPath : public ::testing::TestWithParam<Design> {
 protected:
  explicit FaultPath(PageCount frames = {10'000}) {
    EngineOptions options;
    options.frames = frames;
    engine_ = *Engine::create(options);
    space_ = new_space();
  }
  ~FaultPath() override {
    space_.reset();
    file_ = FileRef{};
    EXPECT_EQ(engine_->frames_used(), PageCount{0});
  }

  std::unique_ptr<AddressSpace> new_space() {
    SpaceOptions options;
    options.design = GetParam();
    return *engine_->create_space(options);
  }
  bool has_vma_locks() const {
    return GetParam() != Design::mmap_lock && GetParam() != Design::speculative;
  }
  FramePool& frames() { return static_cast<SoftEngine&>(*engine_).frames(); }

  Range map(uint64_t pages, Prot prot = kRw, MapFlags flags = kAnon) {
    const Result<Address> at =
        space_->map({.length = pages * kPageSize, .prot = prot, .flags = flags});
    EXPECT_TRUE(at);
    return {*at, *at + pages * kPageSize};
  }
  Range map_file(std::shared_ptr<BackingObject> object, uint64_t pages, MapFlags type,
                 Prot prot = kRw) {
    file_ = *engine_->open(std::move(object), FileMode::read_write);
    const Result<Address> at =
        space_->map({.length = pages * kPageSize, .prot = prot, .flags = type, .file = file_});
    EXPECT_TRUE(at);
    return {*at, *at + pages * kPageSize};
  }
  FaultOutcome fault(Address a, Access access) { return space_->handle_fault(a, access); }
  uint64_t read64(Address a) {
    uint64_t value = 0;
    EXPECT_EQ(space_->load(a, writable_bytes_of(value)), FaultOutcome::resolved);
    return value;
  }
  void write64(Address a, uint64_t value) {
    EXPECT_EQ(space_->store(a, bytes_of(value)), FaultOutcome::resolved);
  }
  // What a user fault of the VMA-lock designs counts, when `expected` is what the text says.
  void expect_counts(FaultCounters before, FaultCounters delta) {
    const FaultCounters now = space_->fault_counters();
    if (GetParam() == Design::speculative) {
      // Which of them fell back is told by its own tests; each was one attempt.
      const auto attempts = [](FaultCounters c) { return c.success + c.abort + c.retry; };
      EXPECT_EQ(attempts(now) - attempts(before), attempts(delta));
      return;
    }
    if (!has_vma_locks()) {
      delta.abort += delta.success + delta.retry;
      delta.success = delta.retry = delta.miss = 0;
    }
    EXPECT_EQ(now.success - before.success, delta.success);
    EXPECT_EQ(now.abort - before.abort, delta.abort);
    EXPECT_EQ(now.retry - before.retry, delta.retry);
    EXPECT_EQ(now.miss - before.miss, delta.miss);
  }

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<AddressSpace> space_;
  FileRef file_;
};

TEST_P(FaultPath, a_fault_in_a_mapping_is_decided_under_the_vma_lock) {
  const Range r = map(4);
  const FaultCounters before = space_->fault_counters();
  EXPECT_EQ(fault(r.start, Access::read), FaultOutcome::resolved);
  EXPECT_EQ(fault(r.start, Access::write), FaultOutcome::resolved);
  EXPECT_EQ(fault(page_of(r, 1), Access::write), FaultOutcome::resolved);
  EXPECT_EQ(fault(page_of(r, 1), Access::write), FaultOutcome::resolved);  // spurious
  expect_counts(before, {.success = 4});
  EXPECT_EQ(engine_->frames_used(), PageCount{2});
}

TEST_P(FaultPath, a_refused_access_is_decided_under_the_vma_lock_too) {
  const Range ro = map(1, Prot::read);
  const Range none = map(1, Prot::none);
  const FaultCounters before = space_->fault_counters();
  EXPECT_EQ(fault(ro.start, Access::write), FaultOutcome::access_error);
  EXPECT_EQ(fault(ro.start, Access::exec), FaultOutcome::access_error);
  EXPECT_EQ(fault(none.start, Access::read), FaultOutcome::access_error);
  EXPECT_EQ(fault(ro.start, Access::read), FaultOutcome::resolved);
  expect_counts(before, {.success = 4});
}

TEST_P(FaultPath, nothing_mapped_is_an_abort_and_a_map_error) {
  const FaultCounters before = space_->fault_counters();
  EXPECT_EQ(fault(Address{0}, Access::read), FaultOutcome::map_error);
  EXPECT_EQ(fault(Address{~uint64_t{0}}, Access::write), FaultOutcome::map_error);
  expect_counts(before, {.abort = 2});
}

TEST_P(FaultPath, kernel_faults_go_the_slow_way_and_are_not_counted) {
  const Range r = map(2);
  const FaultCounters before = space_->fault_counters();
  const LockCounters locks = space_->lock_counters();
  EXPECT_EQ(space_->handle_fault(r.start, Access::write, FaultOrigin::kernel),
            FaultOutcome::resolved);
  EXPECT_EQ(space_->handle_fault(r.end, Access::write, FaultOrigin::kernel),
            FaultOutcome::map_error);
  expect_counts(before, {});
  EXPECT_EQ(space_->lock_counters().read - locks.read, 2u);
}

TEST_P(FaultPath, only_the_first_write_of_a_vma_takes_the_mmap_lock) {
  const Range r = map(3);
  const LockCounters before = space_->lock_counters();
  for (uint64_t p = 0; p < 3; ++p)
    EXPECT_EQ(fault(page_of(r, p), Access::write), FaultOutcome::resolved);
  const LockCounters after = space_->lock_counters();
  EXPECT_EQ(after.read - before.read, GetParam() == Design::mmap_lock ? 3u : 1u);
  EXPECT_EQ(after.write, before.write);
}

TEST_P(FaultPath, exec_needs_exec_and_write_needs_write_but_either_may_read) {
  const Range x = map(1, Prot::exec);
  EXPECT_EQ(fault(x.start, Access::exec), FaultOutcome::resolved);
  EXPECT_EQ(fault(x.start, Access::read), FaultOutcome::resolved);
  EXPECT_EQ(fault(x.start, Access::write), FaultOutcome::access_error);
  const Range w = map(1, Prot::write);
  EXPECT_EQ(fault(w.start, Access::read), FaultOutcome::resolved);
  EXPECT_EQ(fault(w.start, Access::exec), FaultOutcome::access_error);
}

TEST_P(FaultPath, data_survives_protection_and_moves) {
  const Range r = map(4);
  for (uint64_t p = 0; p < 4; ++p) write64(page_of(r, p) + 8, p + 100);
  ASSERT_TRUE(space_->protect(r.start, r.bytes(), Prot::none));
  uint64_t value = 0;
  EXPECT_EQ(space_->load(r.start, writable_bytes_of(value)), FaultOutcome::access_error);
  ASSERT_TRUE(space_->protect(r.start, r.bytes(), Prot::read));
  EXPECT_EQ(space_->store(r.start, bytes_of(value)), FaultOutcome::access_error);
  EXPECT_EQ(read64(page_of(r, 3) + 8), 103u);
  ASSERT_TRUE(space_->protect(r.start, r.bytes(), kRw));
  const Result<Address> moved = space_->remap({.old_address = r.start,
                                               .old_length = r.bytes(),
                                               .new_length = 600 * kPageSize,
                                               .flags = RemapFlags::maymove});
  ASSERT_TRUE(moved);
  for (uint64_t p = 0; p < 4; ++p) EXPECT_EQ(read64(*moved + p * kPageSize + 8), p + 100);
  EXPECT_EQ(read64(*moved + 5 * kPageSize), 0u);
  EXPECT_EQ(engine_->frames_used(), PageCount{4});
}

TEST_P(FaultPath, accesses_cross_pages_and_stop_where_nothing_is_mapped) {
  const Range r = map(4);
  std::vector<std::byte> out(2 * kPageSize + 100);
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(i * 7);
  EXPECT_EQ(space_->store(r.start + 4000, out), FaultOutcome::resolved);
  std::vector<std::byte> in(out.size());
  EXPECT_EQ(space_->load(r.start + 4000, in), FaultOutcome::resolved);
  EXPECT_EQ(in, out);
  ASSERT_TRUE(space_->unmap(page_of(r, 2), kPageSize));
  EXPECT_EQ(space_->load(r.start + 4000, in), FaultOutcome::map_error);
  EXPECT_EQ(space_->copy_out(r.start + 4000, in).error(), Error::fault);
}

TEST_P(FaultPath, copies_count_as_kernel_faults) {
  const Range r = map(2);
  const FaultCounters before = space_->fault_counters();
  const uint64_t value = 0x1122334455667788;
  ASSERT_TRUE(space_->copy_in(r.start + kPageSize - 4, bytes_of(value)));
  uint64_t back = 0;
  ASSERT_TRUE(space_->copy_out(r.start + kPageSize - 4, writable_bytes_of(back)));
  EXPECT_EQ(back, value);
  expect_counts(before, {});
}

TEST_P(FaultPath, advice_dontneed_brings_zeros_back) {
  const Range r = map(2);
  write64(r.start, 5);
  write64(page_of(r, 1), 6);
  ASSERT_TRUE(space_->advise(r.start, kPageSize, Advice::dontneed));
  EXPECT_EQ(read64(r.start), 0u);
  EXPECT_EQ(read64(page_of(r, 1)), 6u);
  EXPECT_EQ(engine_->frames_used(), PageCount{1});
}

TEST_P(FaultPath, an_object_in_memory_is_read_in_under_the_vma_lock) {
  auto object = std::make_shared<TestObject>(4 * kPageSize, VmaLockSafety::memory);
  const Range r = map_file(object, 4, MapFlags::shared);
  const FaultCounters before = space_->fault_counters();
  EXPECT_EQ(fault(page_of(r, 2), Access::read), FaultOutcome::resolved);
  EXPECT_EQ(fault(page_of(r, 2), Access::write), FaultOutcome::resolved);
  expect_counts(before, {.success = 2});
  EXPECT_EQ(object->reads(), 1u);
}

TEST_P(FaultPath, a_page_that_must_be_waited_for_is_read_without_any_lock_of_the_space) {
  auto object = std::make_shared<TestObject>(4 * kPageSize, VmaLockSafety::audited);
  const Range r = map_file(object, 4, MapFlags::shared);
  // A writer gets through while the page is being read.
  object->before_read = [&](uint64_t) {
    // The writer would wait for this thread.
    ASSERT_EQ(LockTracker::count(LockTracker::Kind::vma_read), 0u);
    ASSERT_EQ(LockTracker::count(LockTracker::Kind::mmap_read), 0u);
    std::jthread([&] { EXPECT_TRUE(space_->protect(r.start, r.bytes(), Prot::read)); }).join();
  };
  const FaultCounters before = space_->fault_counters();
  EXPECT_EQ(fault(page_of(r, 1), Access::read), FaultOutcome::resolved);
  expect_counts(before, {.retry = 1});
  EXPECT_EQ(fault(page_of(r, 1), Access::read), FaultOutcome::resolved);
  expect_counts(before, {.success = 1, .retry = 1});
  EXPECT_EQ(object->reads(), 1u);
}

TEST_P(FaultPath, who_waits_for_anothers_read_can_be_stopped) {
  for (const FaultOrigin origin : {FaultOrigin::user, FaultOrigin::kernel}) {
    auto object = std::make_shared<TestObject>(4 * kPageSize, VmaLockSafety::audited);
    const Range r = map_file(object, 4, MapFlags::shared);
    Gate gate;
    object->before_read = [&](uint64_t) { gate.pass(); };
    std::jthread reader([&] { EXPECT_EQ(fault(r.start, Access::read), FaultOutcome::resolved); });
    gate.wait_for_one();
    FaultOutcome outcome = FaultOutcome::bus_error;
    EXPECT_TRUE(ends_when_stopped(gate, [&](const std::stop_token& stop) {
      outcome = space_->handle_fault(r.start, Access::read, origin, stop);
    }));
    EXPECT_EQ(outcome, FaultOutcome::interrupted);
    reader.join();
    EXPECT_EQ(fault(r.start, Access::read), FaultOutcome::resolved);
    EXPECT_EQ(object->reads(), 1u);
  }
}

TEST_P(FaultPath, an_unaudited_object_is_served_under_the_mmap_lock) {
  auto object = std::make_shared<TestObject>(4 * kPageSize, VmaLockSafety::unaudited);
  const Range r = map_file(object, 4, MapFlags::private_);
  const FaultCounters before = space_->fault_counters();
  EXPECT_EQ(fault(r.start, Access::read), FaultOutcome::resolved);
  expect_counts(before, {.retry = 1});
  // What is there already needs the object no more.
  EXPECT_EQ(fault(r.start, Access::read), FaultOutcome::resolved);
  EXPECT_EQ(fault(r.start, Access::write), FaultOutcome::resolved);
  expect_counts(before, {.success = 2, .retry = 1});
  EXPECT_EQ(fault(page_of(r, 1), Access::write), FaultOutcome::resolved);
  expect_counts(before, {.success = 2, .retry = 2});
}

TEST_P(FaultPath, a_cached_page_of_an_unaudited_object_still_needs_the_mmap_lock) {
  auto object = std::make_shared<TestObject>(kPageSize, VmaLockSafety::unaudited);
  const Range first = map_file(object, 1, MapFlags::shared);
  EXPECT_EQ(fault(first.start, Access::read), FaultOutcome::resolved);
  const Range second = map_file(object, 1, MapFlags::shared);
  const FaultCounters before = space_->fault_counters();
  EXPECT_EQ(fault(second.start, Access::read), FaultOutcome::resolved);
  expect_counts(before, {.retry = 1});
  EXPECT_EQ(object->reads(), 1u);
}

TEST_P(FaultPath, the_first_store_to_a_shared_page_asks_an_unaudited_object_again) {
  auto object = std::make_shared<TestObject>(4 * kPageSize, VmaLockSafety::unaudited);
  const Range r = map_file(object, 4, MapFlags::shared);
  EXPECT_EQ(fault(r.start, Access::read), FaultOutcome::resolved);
  const FaultCounters before = space_->fault_counters();
  EXPECT_EQ(fault(r.start, Access::write), FaultOutcome::resolved);
  EXPECT_EQ(fault(r.start, Access::write), FaultOutcome::resolved);
  expect_counts(before, {.success = 1, .retry = 1});
}

TEST_P(FaultPath, a_page_that_cannot_be_read_is_a_bus_error_until_it_can) {
  for (const auto safety :
       {VmaLockSafety::memory, VmaLockSafety::audited, VmaLockSafety::unaudited}) {
    auto object = std::make_shared<TestObject>(2 * kPageSize, safety);
    object->fail(true);
    const Range r = map_file(object, 4, MapFlags::private_);
    EXPECT_EQ(fault(r.start, Access::read), FaultOutcome::bus_error);
    EXPECT_EQ(fault(page_of(r, 3), Access::read), FaultOutcome::bus_error);
    object->fail(false);
    EXPECT_EQ(fault(r.start, Access::read), FaultOutcome::resolved);
    EXPECT_EQ(fault(page_of(r, 3), Access::read), FaultOutcome::bus_error);
    ASSERT_TRUE(space_->unmap(r.start, r.bytes()));
  }
}

TEST_P(FaultPath, shared_anonymous_memory_is_shared_with_a_fork_and_private_memory_is_not) {
  const Range shared = map(2, kRw, kSharedAnon);
  const Range priv = map(2);
  write64(shared.start, 1);
  write64(priv.start, 2);
  Result<std::unique_ptr<AddressSpace>> child = engine_->fork(*space_);
  ASSERT_TRUE(child);
  write64(shared.start, 10);
  write64(priv.start, 20);
  uint64_t value = 0;
  EXPECT_EQ((*child)->load(shared.start, writable_bytes_of(value)), FaultOutcome::resolved);
  EXPECT_EQ(value, 10u);
  EXPECT_EQ((*child)->load(priv.start, writable_bytes_of(value)), FaultOutcome::resolved);
  EXPECT_EQ(value, 2u);
  value = 200;
  EXPECT_EQ((*child)->store(priv.start, bytes_of(value)), FaultOutcome::resolved);
  EXPECT_EQ(read64(priv.start), 20u);
  EXPECT_EQ((*child)->to_maps(), space_->to_maps());
  EXPECT_EQ((*child)->check(), "");
  EXPECT_EQ(space_->check(), "");
}

TEST_P(FaultPath, a_fork_without_memory_leaves_nothing_behind) {
  const Range r = map(600);
  for (uint64_t p = 0; p < 600; p += 100) write64(page_of(r, p), p);
  const PageCount used = engine_->frames_used();
  const uint64_t tables = frames().in_use(FrameUse::table);
  for (uint64_t n = 0; n < 5; ++n) {
    frames().fail_after(n);
    const Result<std::unique_ptr<AddressSpace>> child = engine_->fork(*space_);
    frames().fail_never();
    ASSERT_FALSE(child);
    EXPECT_EQ(child.error(), Error::nomem);
    EXPECT_EQ(engine_->frames_used(), used);
    EXPECT_EQ(frames().in_use(FrameUse::table), tables);
  }
  for (uint64_t p = 0; p < 600; p += 100) EXPECT_EQ(read64(page_of(r, p)), p);
}

TEST_P(FaultPath, a_fork_that_is_stopped_leaves_nothing_behind) {
  const Range r = map(1);
  write64(r.start, 3);
  std::stop_source source;
  source.request_stop();
  const Result<std::unique_ptr<AddressSpace>> child = engine_->fork(*space_, source.get_token());
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error(), Error::intr);
  write64(r.start, 4);
  EXPECT_EQ(engine_->frames_used(), PageCount{1});
}

TEST_P(FaultPath, an_engine_forks_only_its_own_spaces) {
  const std::unique_ptr<Engine> other = *Engine::create({.frames = {100}});
  EXPECT_EQ(other->fork(*space_).error(), Error::inval);
}

TEST_P(FaultPath, a_fault_below_a_growing_vma_grows_it) {
  const Result<Address> at = space_->map({.address = Address{0x10'0000'0000},
                                          .length = 4 * kPageSize,
                                          .prot = kRw,
                                          .flags = kAnon | MapFlags::growsdown | MapFlags::fixed});
  ASSERT_TRUE(at);
  const FaultCounters before = space_->fault_counters();
  EXPECT_EQ(fault(*at - 3 * kPageSize, Access::write), FaultOutcome::resolved);
  expect_counts(before, {.abort = 1});
  const std::optional<VmaInfo> vma = space_->find_vma(*at);
  ASSERT_TRUE(vma);
  EXPECT_EQ(vma->range.start, *at - 3 * kPageSize);
  EXPECT_EQ(read64(*at - 2 * kPageSize), 0u);
  EXPECT_EQ(space_->check(), "");
}

TEST_P(FaultPath, without_a_frame_a_fault_is_out_of_memory_and_works_later) {
  const Range r = map(4);
  // Three tables and the page; the tables that were made stay.
  for (const uint64_t n : {0u, 1u, 2u}) {
    frames().fail_after(n);
    EXPECT_EQ(fault(r.start, Access::write), FaultOutcome::out_of_memory);
    frames().fail_never();
  }
  EXPECT_EQ(fault(r.start, Access::write), FaultOutcome::resolved);
  frames().fail_after(0);
  uint64_t value = 1;
  EXPECT_EQ(space_->store(page_of(r, 1), bytes_of(value)), FaultOutcome::out_of_memory);
  EXPECT_EQ(space_->copy_in(page_of(r, 1), bytes_of(value)).error(), Error::fault);
  frames().fail_never();
}

TEST_P(FaultPath, a_stopped_fault_that_needs_the_mmap_lock_is_interrupted) {
  std::stop_source source;
  source.request_stop();
  EXPECT_EQ(
      space_->handle_fault(Address{0x1000}, Access::read, FaultOrigin::user, source.get_token()),
      FaultOutcome::interrupted);
  const Range r = map(1);
  EXPECT_EQ(space_->handle_fault(r.start, Access::write, FaultOrigin::kernel, source.get_token()),
            FaultOutcome::interrupted);
  if (has_vma_locks()) {
    EXPECT_EQ(space_->handle_fault(r.start, Access::write, FaultOrigin::user, source.get_token()),
              FaultOutcome::resolved);
  }
}

// Runs something, once, while an operation holds the mmap lock for write.
class DuringAChange final : public MapObserver {
 public:
  std::function<void()> act;
  void changed(const Change&) noexcept override {
    if (act) std::exchange(act, {})();
  }
};

// R7: neighbours are looked at under the mmap lock only, and under a VMA lock that is only tried.
TEST_P(FaultPath, r7_no_identity_is_taken_from_a_neighbour_while_a_writer_has_the_map) {
  DuringAChange observer;
  SpaceOptions options;
  options.design = GetParam();
  options.observer = &observer;
  space_ = *engine_->create_space(options);
  const Range fresh = map(1);
  std::stop_source stop;
  stop.request_stop();
  const FaultCounters before = space_->fault_counters();
  observer.act = [&] {
    std::thread([&] {
      EXPECT_EQ(
          space_->handle_fault(fresh.start, Access::write, FaultOrigin::user, stop.get_token()),
          FaultOutcome::interrupted);
    }).join();
  };
  (void)map(1, Prot::read);
  expect_counts(before, {.retry = 1});
  EXPECT_EQ(space_->find_vma(fresh.start)->anon_vma, 0u);
  EXPECT_EQ(fault(fresh.start, Access::write), FaultOutcome::resolved);
  space_.reset();
}

TEST_P(FaultPath, the_memory_of_unmapped_pages_comes_back) {
  for (int round = 0; round < 5; ++round) {
    // Together more than there are frames.
    const Range r = map(4000);
    for (uint64_t p = 0; p < 4000; ++p)
      ASSERT_EQ(fault(page_of(r, p), Access::write), FaultOutcome::resolved);
    EXPECT_EQ(engine_->frames_used(), PageCount{4000});
    ASSERT_TRUE(space_->unmap(r.start, r.bytes()));
    EXPECT_EQ(engine_->frames_used(), PageCount{0});
  }
  engine_->quiesce();
  // All but the way to the top of the space, beyond which nobody says that nothing is mapped.
  EXPECT_LE(frames().in_use(FrameUse::table), 3u);
}

TEST_P(FaultPath, attempts_are_the_sum_of_success_retry_and_abort_with_threads_beside_a_writer) {
  constexpr uint64_t kFaults = 3000;
  const Range r = map(64);
  std::jthread writer([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      EXPECT_TRUE(space_->protect(r.start, r.bytes(), Prot::read));
      EXPECT_TRUE(space_->protect(r.start, r.bytes(), kRw));
    }
  });
  const FaultCounters before = space_->fault_counters();
  {
    std::vector<std::jthread> threads;
    threads.reserve(3);
    for (uint64_t t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        for (uint64_t i = 0; i < kFaults; ++i) {
          ASSERT_EQ(fault(page_of(r, (i * 7 + t) % 64), Access::read), FaultOutcome::resolved);
        }
      });
    }
  }
  writer.request_stop();
  writer.join();
  const FaultCounters now = space_->fault_counters();
  EXPECT_EQ((now.success + now.retry + now.abort) - (before.success + before.retry + before.abort),
            3 * kFaults);
}

INSTANTIATE_TEST_SUITE_P(Designs, FaultPath, ::testing::ValuesIn(kDesigns),
                         [](const auto& design) { return std::string(design_name(design.param)); });

TEST(EngineDeathTest, a_space_or_a_file_that_outlives_its_engine_is_named) {
  EXPECT_DEATH(
      {
        std::unique_ptr<Engine> engine = *Engine::create({.frames = {100}});
        const auto space = *engine->create_space({});
        engine.reset();
      },
      "spaces_");
  EXPECT_DEATH(
      {
        std::unique_ptr<Engine> engine = *Engine::create({.frames = {100}});
        const FileRef file = *engine->open(std::make_shared<TestObject>(1, VmaLockSafety::memory),
                                           FileMode::read_only);
        engine.reset();
      },
      "live");
}

TEST(Engine, refuses_what_it_cannot_make) {
  EXPECT_EQ(Engine::create({.frames = {0}}).error(), Error::nomem);
  const std::unique_ptr<Engine> engine = *Engine::create({.frames = {100}});
  SpaceOptions options;
  options.top = Address{uint64_t{1} << 50};
  EXPECT_EQ(engine->create_space(options).error(), Error::inval);
  static_cast<SoftEngine&>(*engine).frames().fail_after(0);
  EXPECT_EQ(engine->create_space({}).error(), Error::nomem);
  EXPECT_EQ(engine->open(nullptr, FileMode::read_only).error(), Error::inval);
}

}  // namespace
}  // namespace pervma

// How a space ends, beside those who are still in it, and how stacks grow.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "tests/fault/space_fixture.h"

namespace pervma {
namespace {

using namespace test;  // NOLINT: the suite speaks its language

constexpr Address kHigh{0x10'0000'0000};

// Does something once, in another thread, while pages are being taken away; waits for it or not.
class InBetween final : public PageNotifier {
 public:
  explicit InBetween(std::function<void()> what) : what_(std::move(what)) {}
  std::thread thread;
  bool joins = true;

 private:
  void invalidate_start(Range) noexcept override {}
  void invalidate_end(Range) noexcept override {
    if (!what_) return;
    thread = std::thread(std::exchange(what_, nullptr));
    if (joins) thread.join();
  }
  std::function<void()> what_;
};

// Does something in another thread, and waits for it, at each call in turn, of whatever thread.
class Steps final : public PageNotifier {
 public:
  explicit Steps(std::vector<std::function<void()>> steps) : steps_(std::move(steps)) {}
  unsigned calls() const { return calls_.load(); }

 private:
  void invalidate_start(Range) noexcept override { step(); }
  void invalidate_end(Range) noexcept override { step(); }
  void step() {
    const unsigned n = calls_.fetch_add(1);
    if (n < steps_.size() && steps_[n]) std::thread(steps_[n]).join();
  }
  const std::vector<std::function<void()>> steps_;
  std::atomic<unsigned> calls_{0};
};

class Lifecycle : public SpaceFixture {
 protected:
  std::shared_ptr<TestObject> open_object(uint64_t pages) {
    auto object = std::make_shared<TestObject>(pages * kPageSize, VmaLockSafety::memory);
    file_ = *engine_->open(object, FileMode::read_write);
    return object;
  }
  void truncate(TestObject& object) {
    object.resize(0);
    engine_->truncate(file_);
  }
  // Until a writer is at the VMA, under designs whose waiting writers are seen (all but `count`).
  void wait_until_locked(Address a) {
    for (int i = 0; i < 100 && space_->try_read_vma(a); ++i) std::this_thread::yield();
  }
};

class Exit : public Lifecycle {
 protected:
  void expect_empty() {
    EXPECT_EQ(space_->map_count(), 0u);
    EXPECT_EQ(space_->mapped_pages(), PageCount{0});
    EXPECT_EQ(space_->locked_pages(), PageCount{0});
    EXPECT_EQ(engine_->frames_used(), PageCount{0});
    EXPECT_EQ(frames().in_use(FrameUse::table), 1u);  // The root stays.
    EXPECT_EQ(space_->check(), "");
  }
};

TEST_P(Exit, pages_go_first_and_those_that_faults_bring_meanwhile_go_too) {
  const Range r = map(4);
  const Range other = map(4, kRw, kSharedAnon);
  ASSERT_TRUE(space_->lock(other.start, kPageSize, LockFlags::none));
  write64(r.start, 1);
  FaultOutcome outcome = FaultOutcome::bus_error;
  bool is_mapped = false;
  InBetween fault_again([&] {
    outcome = fault(r.start, Access::write);
    is_mapped = space_->find_vma(other.start).has_value();  // Takes the mmap lock for read.
  });
  ASSERT_TRUE(space_->add_notifier(fault_again));
  space_->exit();
  space_->remove_notifier(fault_again);
  EXPECT_EQ(outcome, FaultOutcome::resolved);
  EXPECT_TRUE(is_mapped);
  expect_empty();
  EXPECT_EQ(fault(r.start, Access::read), FaultOutcome::map_error);
}

TEST_P(Exit, threads_that_are_in_it_find_nothing_any_more) {
  constexpr int kRounds = 10;
  constexpr uint64_t kPages = 64;
  for (int round = 0; round < kRounds; ++round) {
    space_ = new_space();
    std::vector<Range> ranges;
    ranges.reserve(8);
    for (int i = 0; i < 8; ++i) {
      ranges.push_back(map_at(kHigh + i * 2 * kPages * kPageSize, kPages, kRw,
                              i % 2 == 0 ? kAnon : kSharedAnon));
    }
    std::atomic<int> begun{0};
    std::atomic<int> odd{0};
    std::vector<std::jthread> threads;
    threads.reserve(3);
    for (unsigned t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        for (uint64_t n = t;; n += 7) {
          const Range& r = ranges[n % ranges.size()];
          uint64_t value = n;
          const FaultOutcome end =
              space_->store(r.start + n / 8 % kPages * kPageSize, bytes_of(value));
          if (n == t) begun.fetch_add(1);
          if (end == FaultOutcome::map_error) break;
          if (end != FaultOutcome::resolved) odd.fetch_add(1);
        }
      });
    }
    while (begun.load() != 3) std::this_thread::yield();
    space_->exit();
    threads.clear();
    EXPECT_EQ(odd.load(), 0);
    expect_empty();
  }
}

TEST_P(Exit, waits_for_the_readers_of_each_vma_and_a_fault_behind_it_can_be_stopped) {
  if (!has_vma_locks()) GTEST_SKIP() << "nobody holds a VMA";
  const Range r = map(4);
  write64(r.start, 1);
  std::atomic<bool> exited{false};
  std::jthread exiting;
  std::optional<std::jthread> behind;
  FaultOutcome outcome = FaultOutcome::bus_error;
  {
    const std::optional<VmaRead> reader = space_->try_read_vma(r.start);
    ASSERT_TRUE(reader);
    exiting = std::jthread([&] {
      space_->exit();
      exited.store(true);
    });
    wait_until_locked(r.start);
    std::stop_source source;
    source.request_stop();
    std::jthread([&] {
      EXPECT_EQ(
          space_->handle_fault(r.start, Access::write, FaultOrigin::kernel, source.get_token()),
          FaultOutcome::interrupted);
    }).join();
    behind.emplace([&] { outcome = fault(r.start, Access::write); });
    for (int i = 0; i < 100; ++i) std::this_thread::yield();
    EXPECT_FALSE(exited.load());
    EXPECT_EQ(reader->info().range, r);
  }
  exiting.join();
  behind.reset();
  // It may have been in time.
  EXPECT_TRUE(outcome == FaultOutcome::map_error || outcome == FaultOutcome::resolved);
  expect_empty();
}

TEST_P(Exit, a_space_that_is_used_again_ends_again) {
  write64(map(1).start, 1);
  space_->exit();
  space_->exit();
  const Range again = map(2);
  write64(again.start, 2);
  EXPECT_EQ(read64(again.start), 2u);
  // The fixture looks for what is left.
}

// A late fault's page leads to its VMA until it is gone.
TEST_P(Exit, a_truncation_finds_the_page_of_a_late_fault) {
  const auto object = open_object(4);
  const Range r = map_file(file_, 4, MapFlags::shared);
  EXPECT_EQ(fault(r.start, Access::read), FaultOutcome::resolved);
  FaultOutcome outcome = FaultOutcome::bus_error;
  Steps steps({nullptr, [&] { outcome = fault(r.start, Access::read); },  // the first walk's end
               [&] { truncate(*object); }});                              // the second's begin
  ASSERT_TRUE(space_->add_notifier(steps));
  space_->exit();
  EXPECT_EQ(outcome, FaultOutcome::resolved);
  EXPECT_EQ(steps.calls(), 6u) << "the truncation's begin and end among them";
  space_->remove_notifier(steps);
  expect_empty();
}

// Who comes from a page may look at its tables.
TEST_P(Exit, tables_stay_while_a_truncation_is_at_work_in_them) {
  const auto object = open_object(4);
  const Range r = map_file(file_, 4, MapFlags::shared);
  EXPECT_EQ(fault(r.start, Access::read), FaultOutcome::resolved);
  const uint64_t tables = frames().in_use(FrameUse::table);
  EXPECT_GT(tables, 1u);
  std::jthread exiting;
  uint64_t seen = 0;
  Steps steps({[&] {
    exiting = std::jthread([&] { space_->exit(); });
    for (int i = 0; i < 100; ++i) std::this_thread::yield();
    seen = frames().in_use(FrameUse::table);
  }});
  ASSERT_TRUE(space_->add_notifier(steps));
  truncate(*object);
  exiting.join();
  EXPECT_EQ(seen, tables);
  space_->remove_notifier(steps);
  expect_empty();
}

TEST_P(Exit, the_collapser_comes_no_more) {
  constexpr uint64_t kHuge = 512;
  const auto wish_for_one = [&] {
    const Range r = map_at(kHigh, kHuge);
    for (uint64_t p = 0; p < kHuge; ++p) write64(page_of(r, p), p);
    ASSERT_TRUE(space_->advise(r.start, r.bytes(), Advice::hugepage));
  };
  wish_for_one();
  EXPECT_EQ(engine_->collapse_some(100), 1u);
  space_->exit();
  expect_empty();
  wish_for_one();
  EXPECT_EQ(engine_->collapse_some(100), 0u);
}

TEST_P(Exit, gives_back_vmas_that_go_by_rcu_in_batches) {
  SpaceOptions options;
  options.design = GetParam();
  options.vma_free = VmaFree::rcu_batched;
  Result<std::unique_ptr<AddressSpace>> space = engine_->create_space(options);
  if (!space) GTEST_SKIP() << "frees at once";
  space_ = std::move(*space);
  for (int i = 0; i < 40; ++i) map_at(kHigh + i * 2 * kPageSize, 1);
  space_->exit();
  expect_empty();
  // Its engine's end looks for what is left.
}

INSTANTIATE_TEST_SUITE_P(Designs, Exit, ::testing::ValuesIn(kDesigns), test::design_of);

class Stack : public Lifecycle {
 protected:
  Range stack_at(Address at, uint64_t pages) {
    return map_at(at, pages, kRw, kAnon | MapFlags::growsdown);
  }
  Address start_of(Range stack) { return space_->find_vma(stack.end - kPageSize)->range.start; }
  FaultOutcome write_below(Range stack, uint64_t pages) {
    return fault(stack.start - pages * kPageSize, Access::write);
  }
  void remake(SpaceOptions options) {
    options.design = GetParam();
    space_ = *engine_->create_space(options);
  }
};

TEST_P(Stack, keeps_its_gap_to_what_may_be_accessed_and_to_nothing_else) {
  const Range stack = stack_at(kHigh, 1);
  const Range below = map_at(kHigh - 600 * kPageSize, 10, Prot::read);
  const uint64_t free = 590;
  EXPECT_EQ(write_below(stack, free - 255), FaultOutcome::map_error);
  EXPECT_EQ(start_of(stack), stack.start);
  EXPECT_EQ(write_below(stack, free - 256), FaultOutcome::resolved);
  EXPECT_EQ(start_of(stack), stack.start - (free - 256) * kPageSize);
  ASSERT_TRUE(space_->protect(below.start, below.bytes(), Prot::none));
  EXPECT_EQ(write_below(stack, free), FaultOutcome::resolved);  // They touch, and stay two.
  EXPECT_EQ(start_of(stack), below.end);
  EXPECT_EQ(write_below(stack, free + 1), FaultOutcome::access_error);
  EXPECT_EQ(space_->map_count(), 2u);
  EXPECT_EQ(space_->mapped_pages(), PageCount{11 + free});
}

TEST_P(Stack, comes_close_to_another_one) {
  const Range low = stack_at(kHigh, 2);
  const Range high = stack_at(kHigh + 100 * kPageSize, 2);
  EXPECT_EQ(write_below(high, 97), FaultOutcome::resolved);
  EXPECT_EQ(start_of(high), low.end + kPageSize);
  EXPECT_EQ(write_below(low, 1), FaultOutcome::resolved);
  EXPECT_EQ(write_below(high, 98), FaultOutcome::resolved);
  EXPECT_EQ(start_of(high), low.end);
}

TEST_P(Stack, grows_to_its_limit_by_what_is_locked_and_by_what_may_be_mapped) {
  remake({.stack_limit = 20 * kPageSize});
  const Range stack = stack_at(kHigh, 4);
  EXPECT_EQ(write_below(stack, 17), FaultOutcome::map_error);
  EXPECT_NE(space_->find_vma(stack.start)->anon_vma, 0u);  // Linux gives it one before it asks.
  EXPECT_EQ(write_below(stack, 16), FaultOutcome::resolved);
  EXPECT_EQ(write_below(stack, 17), FaultOutcome::map_error);

  remake({.memlock_limit = 10 * kPageSize});
  const Range locked = stack_at(kHigh, 4);
  ASSERT_TRUE(space_->lock(locked.start, locked.bytes(), LockFlags::none));
  EXPECT_EQ(write_below(locked, 7), FaultOutcome::map_error);
  EXPECT_EQ(write_below(locked, 6), FaultOutcome::resolved);
  EXPECT_EQ(space_->locked_pages(), PageCount{10});

  remake({.address_space_limit = 10 * kPageSize});
  const Range mapped = stack_at(kHigh, 4);
  EXPECT_EQ(write_below(mapped, 7), FaultOutcome::map_error);
  EXPECT_EQ(write_below(mapped, 6), FaultOutcome::resolved);
  EXPECT_EQ(space_->mapped_pages(), PageCount{10});
}

TEST_P(Stack, grows_to_the_lowest_address_and_to_the_first_page_number) {
  remake({.lowest = kHigh - 2 * kPageSize});
  const Range stack = stack_at(kHigh, 1);
  EXPECT_EQ(write_below(stack, 3), FaultOutcome::map_error);
  EXPECT_EQ(write_below(stack, 2), FaultOutcome::resolved);

  // Once written it keeps its numbers where it goes.
  remake({});
  constexpr uint64_t kNumber = 32;
  const Range low = stack_at(Address{kNumber * kPageSize}, 2);
  write64(low.start, 5);
  ASSERT_TRUE(space_->remap({.old_address = low.start,
                             .old_length = low.bytes(),
                             .new_length = low.bytes(),
                             .flags = RemapFlags::maymove | RemapFlags::fixed,
                             .new_address = kHigh}));
  const Range moved{kHigh, kHigh + low.bytes()};
  EXPECT_EQ(write_below(moved, kNumber + 1), FaultOutcome::map_error);
  EXPECT_EQ(write_below(moved, kNumber), FaultOutcome::resolved);
  EXPECT_EQ(read64(kHigh), 5u);
}

TEST_P(Stack, waits_for_the_mmap_lock_and_can_be_stopped_there) {
  const Range stack = stack_at(kHigh, 2);
  const Range gone = map_at(kHigh - 8 * kPageSize, 1);
  write64(gone.start, 1);
  // There the mmap lock is held for read: that the stack lies above is seen, and no more.
  std::stop_source source;
  std::atomic<bool> ended{false};
  bool was_stopped = false;
  FaultOutcome outcome = FaultOutcome::bus_error;
  std::jthread growing;
  Steps steps({[&] {
    growing = std::jthread([&] {
      outcome = space_->handle_fault(stack.start - kPageSize, Access::write, FaultOrigin::kernel,
                                     source.get_token());
      ended.store(true);
    });
    for (int i = 0; i < 100; ++i) std::this_thread::yield();
    source.request_stop();
    // Bounded for the case that it cannot be stopped.
    for (int i = 0; i < 5'000 && !ended.load(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    was_stopped = ended.load();
  }});
  ASSERT_TRUE(space_->add_notifier(steps));
  ASSERT_TRUE(space_->unmap(gone.start, gone.bytes()));
  growing.join();
  EXPECT_TRUE(was_stopped);
  EXPECT_EQ(outcome, FaultOutcome::interrupted);
  EXPECT_EQ(start_of(stack), stack.start);
  space_->remove_notifier(steps);
}

TEST_P(Stack, does_not_grow_for_an_access_that_it_refuses_later_nor_without_memory) {
  const Range stack = map_at(kHigh, 2, Prot::read, kAnon | MapFlags::growsdown);
  // As in Linux it has grown when the access is looked at.
  EXPECT_EQ(write_below(stack, 3), FaultOutcome::access_error);
  EXPECT_EQ(start_of(stack), stack.start - 3 * kPageSize);
  EXPECT_EQ(fault(stack.start - 4 * kPageSize, Access::read), FaultOutcome::resolved);
  frames().fail_after(0);
  EXPECT_EQ(fault(stack.start - 1024 * kPageSize, Access::read), FaultOutcome::out_of_memory);
  frames().fail_never();
  EXPECT_EQ(fault(stack.start - 1024 * kPageSize, Access::read), FaultOutcome::resolved);
  EXPECT_EQ(space_->check(), "");
}

TEST_P(Stack, of_a_forks_child_grows_by_itself) {
  const Range stack = stack_at(kHigh, 2);
  write64(stack.start, 5);
  const std::unique_ptr<AddressSpace> child = *engine_->fork(*space_);
  write64(*child, stack.start - 3 * kPageSize, 6);
  write64(stack.start - 2 * kPageSize, 7);
  EXPECT_EQ(read64(*child, stack.start - 2 * kPageSize), 0u);
  EXPECT_EQ(read64(*child, stack.start), 5u);
  EXPECT_EQ(child->find_vma(stack.start)->range.start, stack.start - 3 * kPageSize);
  EXPECT_EQ(start_of(stack), stack.start - 2 * kPageSize);
  EXPECT_EQ(child->check(), "");
}

TEST_P(Stack, waits_for_the_readers_of_its_vma) {
  if (!has_vma_locks()) GTEST_SKIP() << "nobody holds a VMA";
  const Range stack = stack_at(kHigh, 2);
  std::atomic<bool> grown{false};
  std::optional<std::jthread> growing;
  {
    const std::optional<VmaRead> reader = space_->try_read_vma(stack.start);
    ASSERT_TRUE(reader);
    growing.emplace([&] {
      EXPECT_EQ(write_below(stack, 2), FaultOutcome::resolved);
      grown.store(true);
    });
    wait_until_locked(stack.start);
    for (int i = 0; i < 100; ++i) std::this_thread::yield();
    EXPECT_FALSE(grown.load());
    EXPECT_EQ(reader->info().range, stack);
  }
  growing.reset();
  EXPECT_EQ(start_of(stack), stack.start - 2 * kPageSize);
}

TEST_P(Stack, does_not_grow_into_what_is_still_being_unmapped) {
  const Range stack = stack_at(kHigh, 2);
  const Range below = map_at(kHigh - 4 * kPageSize, 4, Prot::none);
  ASSERT_TRUE(space_->protect(below.start, below.bytes(), kRw));
  write64(below.start, 1);
  std::atomic<bool> grown{false};
  FaultOutcome outcome = FaultOutcome::bus_error;
  InBetween grow([&] {
    outcome = write_below(stack, 4);
    grown.store(true);
  });
  grow.joins = false;
  ASSERT_TRUE(space_->add_notifier(grow));
  ASSERT_TRUE(space_->unmap(below.start, below.bytes()));
  grow.thread.join();
  space_->remove_notifier(grow);
  EXPECT_TRUE(grown.load());
  EXPECT_EQ(outcome, FaultOutcome::resolved);
  EXPECT_EQ(read64(below.start), 0u);
  EXPECT_EQ(space_->check(), "");
}

TEST_P(Stack, grows_once_for_threads_that_want_it_at_once) {
  constexpr uint64_t kDepth = 64;
  const Range stack = stack_at(kHigh, 1);
  std::atomic<uint64_t> arrived{0};
  std::vector<std::jthread> threads;
  threads.reserve(2);
  for (unsigned t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t page = 1; page <= kDepth; ++page) {
        arrived.fetch_add(1);
        for (int i = 0; arrived.load() < 2 * page; ++i) {
          if (i > 1'000) std::this_thread::yield();
        }
        write64(stack.start - page * kPageSize + t * 8, page);
      }
    });
  }
  threads.clear();
  EXPECT_EQ(start_of(stack), stack.start - kDepth * kPageSize);
  EXPECT_EQ(space_->mapped_pages(), PageCount{kDepth + 1});
  for (uint64_t page = 1; page <= kDepth; ++page) {
    EXPECT_EQ(read64(stack.start - page * kPageSize), page);
  }
}

INSTANTIATE_TEST_SUITE_P(Designs, Stack, ::testing::ValuesIn(kDesigns), test::design_of);

}  // namespace
}  // namespace pervma

// How a space ends, beside those who are still in it, and how stacks grow.
#include <gtest/gtest.h>

#include <atomic>
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

class Lifecycle : public SpaceFixture {
 protected:
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
    EXPECT_EQ(space_->check(), "");
  }
};

TEST_P(Exit, pages_go_first_and_those_that_faults_bring_meanwhile_go_too) {
  const Range r = map(4);
  const Range other = map(4, kRw, kSharedAnon);
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
  std::vector<std::jthread> threads;
  threads.reserve(3);
  for (unsigned t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t page = 1 + t; page <= kDepth; page += 1 + t) {
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

// The bug scenarios of docs/testing.md that are about the map and its locks, each a schedule that
// is forced. The space runs under the default design, which tells the test of its steps.
#include <gtest/gtest.h>

#include <functional>
#include <new>
#include <set>
#include <stop_token>
#include <thread>

#include "tests/sync/actor.h"
#include "vm/address_space_impl.h"
#include "vm/support.h"

namespace pervma::test {
namespace {

// The steps of a VMA lock; each is told before it is taken, in the thread that takes it.
enum class Step : uint8_t { begin_read, lock_write, detach };
using OnStep = std::function<void(Step, RefcountLock::Near&)>;
thread_local OnStep t_on_step;

void told(Step step, RefcountLock::Near& near) noexcept {
  if (t_on_step) t_on_step(step, near);
}

struct WatchedLock : RefcountLock {
  static Attempt begin_read(Near& near, Far& far, const Space& space) noexcept {
    told(Step::begin_read, near);
    return RefcountLock::begin_read(near, far, space);
  }
  [[nodiscard]] static bool lock_write(Near& near, Far& far, Space& space,
                                       const StopToken& stop = {}) noexcept {
    told(Step::lock_write, near);
    return RefcountLock::lock_write(near, far, space, stop);
  }
  static void detach(Near& near, Far& far, Space& space) noexcept {
    told(Step::detach, near);
    RefcountLock::detach(near, far, space);
  }
};

// Sets this thread's listener while it lives.
class Listen {
 public:
  explicit Listen(OnStep on_step) { t_on_step = std::move(on_step); }
  ~Listen() { t_on_step = nullptr; }
  Listen(const Listen&) = delete;
  Listen& operator=(const Listen&) = delete;
};

}  // namespace
}  // namespace pervma::test

namespace pervma {
// The engine's list of designs does not have this one: its memory is the test's own.
template <>
TypeStableCache<Vma<test::WatchedLock>>& VmContext::vmas<test::WatchedLock>() noexcept {
  static auto* const cache = new (std::nothrow) TypeStableCache<Vma<test::WatchedLock>>;
  return *cache;
}
}  // namespace pervma

namespace pervma::test {
namespace {

using Scenario = SpaceTest<WatchedLock>;
using R2 = Scenario;
using R3 = Scenario;
using R9 = Scenario;
using R10 = Scenario;
using R17 = Scenario;
using R18 = Scenario;
using R20 = Scenario;
using R28 = Scenario;
using R29 = Scenario;

// Stack growth moves bounds while a fault under the VMA lock reads them.
TEST_F(R2, a_growing_stacks_bounds_move_only_after_its_write_lock) {
  ASSERT_TRUE(map(1000, 2, kRw, MapFlags::growsdown));
  auto* const v = space().vma_at(page_at(1000));
  const Range before = v->range;
  bool locked = false;
  {
    const Listen listen([&](Step step, RefcountLock::Near& near) {
      if (step != Step::lock_write || &near != &v->near) return;
      locked = true;
      EXPECT_EQ(v->range, before);
    });
    ASSERT_TRUE(space().grow_stack_to(page_at(998)));
  }
  EXPECT_TRUE(locked);
  EXPECT_EQ(v->start(), page_at(998));
}

// mmap publishes a VMA, then still edits it.
TEST_F(R3, a_new_vma_is_not_readable_before_its_maker_is_done) {
  struct Reader : MapObserver {
    void changed(const Change& c) noexcept override {
      ++calls;
      std::thread([&] { seen_early = seen_early || space->try_read_vma(c.range.start); }).join();
    }
    AddressSpace* space = nullptr;
    int calls = 0;
    bool seen_early = false;
  } reader;
  SpaceOptions options = small_space(Design::refcount);
  options.observer = &reader;
  remake(options);
  reader.space = &space();
  ASSERT_TRUE(map(3, 2, kRw));
  ASSERT_TRUE(map(5, 1, kRw));  // Grows the one before.
  ASSERT_TRUE(map(4, 1, Prot::read));
  EXPECT_EQ(reader.calls, 3);
  EXPECT_FALSE(reader.seen_early);
  EXPECT_TRUE(space().try_read_vma(page_at(4)));
}

// What can be freed is replaced under a fault that uses it (here: the name).
TEST_F(R9, an_attachment_is_replaced_only_when_the_vmas_readers_have_left) {
  ASSERT_TRUE(map(0, 4, kRw));
  ASSERT_EQ(error_of(space().set_name(page_at(0), bytes_of_pages(4), "old", {})), 0);
  Actor writer;
  Signal locking;
  {
    const std::optional<VmaRead> reader = space().try_read_vma(page_at(1));
    ASSERT_TRUE(reader);
    writer.start([&] {
      {
        const Listen listen([&](Step step, RefcountLock::Near&) {
          if (step == Step::lock_write) locking.set();
        });
        EXPECT_EQ(error_of(space().set_name(page_at(0), bytes_of_pages(4), "new", {})), 0);
      }
      locking.set();
    });
    locking.wait();
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(reader->info().name, "[anon:old]");
      std::this_thread::yield();
    }
  }
  writer.wait();
  EXPECT_EQ(space().find_vma(page_at(1))->name, "[anon:new]");
}

// A nested operation that ends all VMA write locks ends its caller's too.
TEST_F(R10, what_is_write_locked_stays_so_until_the_mmap_hold_ends) {
  build("aaRRaaNNaaRRaa");
  std::set<RefcountLock::Near*> locked;
  int checks = 0;
  const Listen listen([&](Step step, RefcountLock::Near& near) {
    if (step == Step::begin_read) return;
    for (RefcountLock::Near* other : locked) {
      EXPECT_TRUE(other->is_write_locked(space().mmap_lock()));
      ++checks;
    }
    if (step == Step::detach) {
      locked.erase(&near);
    } else {
      locked.insert(&near);  // It is by the next step.
    }
  });
  EXPECT_EQ(move(4, 2, 2, 9), 9);  // Unmaps at its destination.
  locked.clear();
  EXPECT_EQ(protect(1, 8, Prot::read), ENOMEM);
  locked.clear();
  ASSERT_TRUE(map(1, 11, kRw));
  locked.clear();
  EXPECT_EQ(unmap(1, 12), 0);
  EXPECT_GT(checks, 0);
  EXPECT_EQ(space().check(), "");
}

// The retry after "detached" goes on with what the first walk found.
TEST_F(R17, a_lookup_walks_afresh_after_a_detached_vma) {
  ASSERT_TRUE(map(0, 1, kRw));
  auto& cache = context_.vmas<WatchedLock>();
  Vma<WatchedLock>* taken = nullptr;
  bool first = true;
  const Listen listen([&](Step step, RefcountLock::Near&) {
    if (step != Step::begin_read || !first) return;
    first = false;
    std::thread([&] {
      EXPECT_EQ(unmap(0, 1), 0);
      taken = cache.alloc();  // The old VMA's memory: it stays detached.
      ASSERT_TRUE(map(0, 1, kRw));
    }).join();
  });
  const auto found = space().lock_vma_under_rcu(page_at(0));
  ASSERT_EQ(found.end, LookupEnd::locked);
  EXPECT_EQ(found.misses, 1u);
  EXPECT_TRUE(found.vma->range.contains(page_at(0)));
  space().end_read(*found.vma, found.token);
  cache.free(taken);
}

// A killable write lock leaks its exclusion on a signal.
TEST_F(R18, a_stopped_fork_leaves_the_parents_vmas_as_they_were) {
  build("aa");
  auto* const v = space().vma_at(page_at(0));
  std::stop_source stop;
  Actor forker;
  Signal locking;
  FakeMmu mmu;
  TestSpace<WatchedLock> child(context_, mmu, small_space(Design::refcount));
  int result = 0;
  {
    const std::optional<VmaRead> reader = space().try_read_vma(page_at(0));
    ASSERT_TRUE(reader);
    forker.start([&] {
      const Listen listen([&](Step step, RefcountLock::Near& near) {
        if (step == Step::lock_write && &near == &v->near) locking.set();
      });
      result = error_of(child.copy_from(space(), stop.get_token()));
    });
    locking.wait();
    stop.request_stop();
    forker.wait();
    EXPECT_EQ(result, EINTR);
    EXPECT_EQ(v->far.vm_refcnt.load(std::memory_order_relaxed), 2u) << "attached, one reader";
    EXPECT_TRUE(space().try_read_vma(page_at(1)));
  }
  EXPECT_EQ(unmap(0, 2), 0);
}

// A VMA shrinks and another one appears while the first is locked: between what was looked for and
// what is found there seems to be a gap that never was.
TEST_F(R20, a_gap_that_never_was_is_not_believed) {
  ASSERT_TRUE(map(1, 11, kRw));
  auto* const found_first = space().vma_at(page_at(1));
  bool first = true;
  const Listen listen([&](Step step, RefcountLock::Near& near) {
    if (step != Step::begin_read || !first) return;
    first = false;
    EXPECT_EQ(&near, &found_first->near);
    std::thread([&] {
      ASSERT_TRUE(map(0, 1, Prot::read));
      EXPECT_EQ(protect(1, 7, Prot::read), 0);
    }).join();
    // Still there, and free to be locked.
    EXPECT_EQ(found_first->range, (Range{page_at(8), page_at(12)}));
  });
  const auto found = space().lock_next_vma(page_at(0), page_at(40));
  EXPECT_FALSE(first);
  ASSERT_NE(found.vma, nullptr);
  EXPECT_EQ(found.vma->range, (Range{page_at(0), page_at(8)}));
  space().end_read(*found.vma, found.token);
}

// A mapping over old ones is refused when they are gone already. Here that is found out before:
// they stay, pages and all.
TEST_F(R28, a_mapping_over_old_ones_that_is_refused_leaves_them_whole) {
  SpaceOptions options = small_space(Design::refcount);
  options.address_space_limit = bytes_of_pages(8);
  const auto begin = [&] {
    remake(options);
    build("aarraa");
    for (const uint64_t p : {0u, 1u, 4u, 5u}) ASSERT_TRUE(write(p));
  };
  const auto expect_whole = [&] {
    for (uint64_t p = 0; p < 6; ++p) {
      const std::optional<VmaInfo> v = space().find_vma(page_at(p));
      ASSERT_TRUE(v) << p;
      EXPECT_EQ(v->flags.has(VmaFlag::write), p < 2 || p > 3) << p;
    }
    for (const uint64_t p : {0u, 1u, 4u, 5u}) EXPECT_TRUE(mmu_.has(page_at(p))) << p;
    EXPECT_EQ(space().mapped_pages(), PageCount{6});
    EXPECT_EQ(space().check(), "");
  };
  begin();
  EXPECT_EQ(error_of(map(1, 10, kRw)), ENOMEM);  // More than may be mapped.
  expect_whole();
  // And when memory for the new one cannot be had, at whatever point.
  for (int n = 0;; ++n) {
    ASSERT_LT(n, 100);
    SCOPED_TRACE(n);
    begin();
    int left = n;
    const AllocationHook hook{[](void* l) { return (*static_cast<int*>(l))-- <= 0; }, &left};
    context_.nodes.set_allocation_hook(hook);
    context_.vmas<WatchedLock>().set_allocation_hook(hook);
    const int error = error_of(map(1, 4, Prot::read));
    context_.nodes.set_allocation_hook({});
    context_.vmas<WatchedLock>().set_allocation_hook({});
    if (error == 0) break;
    EXPECT_EQ(error, ENOMEM);
    expect_whole();
  }
  EXPECT_FALSE(mmu_.has(page_at(1)));
  EXPECT_EQ(space().check(), "");
}

// A flag that is set under a VMA read lock, by an atomic operation, is lost to a writer who stores
// what he computed from a copy. Here every flag is the writers': also the mark of guard pages, and
// who computes flags keeps the mark that a merge brought meanwhile.
TEST_F(R29, the_mark_of_guards_is_a_writers_and_no_other_writer_loses_it) {
  ASSERT_TRUE(map(0, 4, kRw));
  Actor writer;
  Signal locking;
  {
    const std::optional<VmaRead> reader = space().try_read_vma(page_at(1));
    ASSERT_TRUE(reader);
    writer.start([&] {
      {
        const Listen listen([&](Step step, RefcountLock::Near&) {
          if (step == Step::lock_write) locking.set();
        });
        EXPECT_EQ(advise(1, 1, Advice::guard_install), 0);
      }
      locking.set();
    });
    locking.wait();
    for (int i = 0; i < 10; ++i) {
      EXPECT_FALSE(reader->info().flags.has(VmaFlag::maybe_guard));
      std::this_thread::yield();
    }
  }
  writer.wait();
  EXPECT_TRUE(space().find_vma(page_at(1))->flags.has(VmaFlag::maybe_guard));
  // Advice that joins the VMA with a neighbour that has no guards, from either side.
  ASSERT_TRUE(map(4, 4, kRw));
  ASSERT_EQ(advise(4, 4, Advice::dontfork), 0);
  ASSERT_EQ(advise(0, 4, Advice::dontfork), 0);
  EXPECT_EQ(space().map_count(), 1u);
  EXPECT_TRUE(space().find_vma(page_at(1))->flags.has(VmaFlag::maybe_guard));
  ASSERT_TRUE(map(8, 4, kRw));
  ASSERT_EQ(advise(8, 4, Advice::dontfork), 0);
  EXPECT_EQ(space().map_count(), 1u);
  EXPECT_TRUE(space().find_vma(page_at(9))->flags.has(VmaFlag::maybe_guard));
  EXPECT_EQ(protect(0, 12, Prot::read), 0);
  EXPECT_TRUE(space().find_vma(page_at(1))->flags.has(VmaFlag::maybe_guard));
}

}  // namespace
}  // namespace pervma::test

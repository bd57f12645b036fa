// User faults that meet writers of the map, handlers that misbehave, threads that are stopped; and
// a pager that moves pages away and back under load.
#include <array>
#include <chrono>
#include <mutex>
#include <random>
#include <stdexcept>
#include <thread>

#include "tests/fault/user_fault_fixture.h"

namespace pervma {
namespace {

using namespace test;  // NOLINT: the suite speaks its language

class UserFaultRace : public UserFaultFixture {
 protected:
  // Until `n` calls of the handler began.
  void await_calls(int n) const {
    while (handler_.calls.load() < n) std::this_thread::yield();
  }
};

// --- bad handlers ------------------------------------------------------------------------------

TEST_P(UserFaultRace, a_handler_that_throws_costs_the_access_and_nothing_else) {
  const Range r = told(2);
  handler_.answer = [](const UserFault&, const std::stop_token&) -> UserFaultAnswer {
    throw std::runtime_error("no page");
  };
  uint64_t value = 0;
  EXPECT_EQ(load(*space_, r.start, value), FaultOutcome::bus_error);
  EXPECT_EQ(space_->copy_out(r.start, writable_bytes_of(value)).error(), Error::fault);
  EXPECT_EQ(faults_->counters().threw, 2u);
  answer_with(5);
  EXPECT_EQ(read64(r.start), 5u);
}

TEST_P(UserFaultRace, an_answer_that_is_none_is_a_bus_error) {
  const Range r = told(2);
  handler_.answer = [](const UserFault&, const std::stop_token&) { return UserFaultAnswer(77); };
  EXPECT_EQ(fault(r.start, Access::read), FaultOutcome::bus_error);
  EXPECT_EQ(faults_->counters().nonsense, 1u);
  handler_.answer = [](const UserFault&, const std::stop_token&) {
    return UserFaultAnswer::bus_error;
  };
  EXPECT_EQ(fault(r.start, Access::read), FaultOutcome::bus_error);
  EXPECT_EQ(faults_->counters().nonsense, 1u);
  answer_with(5);
  EXPECT_EQ(read64(r.start), 5u);
}

TEST_P(UserFaultRace, whoever_always_says_that_it_is_done_is_not_believed_for_ever) {
  const Range r = told(1);
  handler_.answer = [](const UserFault&, const std::stop_token&) {
    return UserFaultAnswer::look_again;
  };
  EXPECT_EQ(fault(r.start, Access::write), FaultOutcome::bus_error);
  EXPECT_EQ(faults_->counters().nonsense, 1u);
  EXPECT_EQ(fault(r.start, Access::write), FaultOutcome::bus_error);
  answer_with(5);
  EXPECT_EQ(read64(r.start), 5u);
}

TEST_P(UserFaultRace, a_fault_that_nobody_answers_can_be_stopped) {
  const Range r = told(2);
  std::stop_source stop;
  std::atomic<int> stopped{0};
  {
    const std::jthread a([&] {
      uint64_t value = 0;
      if (space_->load(r.start, writable_bytes_of(value), stop.get_token()) ==
          FaultOutcome::interrupted) {
        ++stopped;
      }
    });
    const std::jthread b([&] {
      if (space_->handle_fault(r.start, Access::write, FaultOrigin::kernel, stop.get_token()) ==
          FaultOutcome::interrupted) {
        ++stopped;
      }
    });
    await_calls(2);
    // Nobody is kept from anything meanwhile.
    ASSERT_TRUE(space_->protect(r.start, kPageSize, Prot::read));
    ASSERT_TRUE(space_->protect(r.start, kPageSize, kRw));
    stop.request_stop();
  }
  EXPECT_EQ(stopped, 2);
  EXPECT_EQ(faults_->counters().interrupted, 2u);
  EXPECT_EQ(space_->handle_fault(r.start, Access::read, FaultOrigin::user, stop.get_token()),
            FaultOutcome::interrupted);
  answer_with(5);
  EXPECT_EQ(read64(r.start), 5u);
}

TEST_P(UserFaultRace, the_end_of_the_handler_wakes_everybody_and_tells_nobody) {
  const Range r = told(2, kMissing | kClosing);
  answer_with(9);
  write64(page_of(r, 1), 1);
  ASSERT_TRUE(faults_->write_protect(r.start, r.bytes()));
  handler_.answer = [](const UserFault&, const std::stop_token&) { return UserFaultAnswer::wait; };
  std::jthread missing([&] { EXPECT_EQ(read64(r.start), 0u); });
  std::jthread closed([&] { write64(page_of(r, 1), 2); });
  await_calls(3);
  faults_.reset();
  missing.join();
  closed.join();
  EXPECT_EQ(read64(page_of(r, 1)), 2u);
  EXPECT_EQ(modes_at(r.start), UserFaultModes::none);
  EXPECT_EQ(space_->check(), "");
}

TEST_P(UserFaultRace, the_end_waits_for_a_handler_that_is_at_work) {
  const Range r = told(1);
  std::atomic<bool> go{false};
  std::atomic<bool> left{false};
  handler_.answer = [&](const UserFault& f, const std::stop_token&) {
    while (!go) std::this_thread::yield();
    (void)space_->find_vma(f.address);
    left = true;
    return UserFaultAnswer::look_again;
  };
  const std::jthread faulting([&] { EXPECT_EQ(read64(r.start), 0u); });
  await_calls(1);
  const std::jthread opener([&] {
    std::this_thread::yield();
    go = true;
  });
  faults_.reset();
  EXPECT_TRUE(left);
}

TEST_P(UserFaultRace, who_waits_when_a_range_is_unregistered_looks_again) {
  const Range r = told(3);
  std::jthread waits([&] { EXPECT_EQ(read64(page_of(r, 1)), 0u); });
  await_calls(1);
  ASSERT_TRUE(faults_->unregister_range(page_of(r, 1), kPageSize));
  waits.join();
  EXPECT_EQ(modes_at(r.start), kMissing);
}

// --- rules -------------------------------------------------------------------------------------

// The context is freed, or the flags change, under a fault that looks at them.
TEST_P(UserFaultRace, r9_who_is_told_changes_only_when_the_vmas_readers_have_left) {
  if (!has_vma_locks()) GTEST_SKIP() << "nobody holds a VMA";
  const Range r = told(1);
  std::atomic<bool> done{false};
  std::optional<std::jthread> writer;
  {
    const std::optional<VmaRead> held = space_->try_read_vma(r.start);
    ASSERT_TRUE(held);
    const uint64_t before = space_->lock_counters().write;
    writer.emplace([&] {
      EXPECT_TRUE(faults_->unregister_range(r.start, r.bytes()));
      done = true;
    });
    while (space_->lock_counters().write == before) std::this_thread::yield();
    for (int i = 0; i < 100; ++i) {
      std::this_thread::yield();
      ASSERT_EQ(held->info().user_faults, kMissing);
      ASSERT_TRUE(held->info().flags.has(VmaFlag::user_fault));
    }
    EXPECT_FALSE(done);
  }
  writer->join();
  EXPECT_EQ(modes_at(r.start), UserFaultModes::none);
}

// The lock was released before the fault was told; what was the VMA is another by now.
TEST_P(UserFaultRace, r15_nothing_of_the_vma_is_touched_once_a_fault_is_told) {
  const Range r = told(1);
  handler_.answer = [&](const UserFault& f, const std::stop_token&) {
    EXPECT_TRUE(space_->unmap(f.address, kPageSize));
    // Its memory is used again, for VMAs that know of no handler.
    for (uint64_t i = 0; i < 20; ++i) map_at(Address{0x5000'0000 + i * 2 * kPageSize}, 1);
    return UserFaultAnswer::look_again;
  };
  EXPECT_EQ(fault(r.start, Access::write), FaultOutcome::map_error);
  const Range s = told(1);
  handler_.answer = [&](const UserFault& f, const std::stop_token&) {
    EXPECT_TRUE(space_->unmap(f.address, kPageSize));
    map_at(f.address, 1, Prot::read);
    return UserFaultAnswer::look_again;
  };
  EXPECT_EQ(fault(s.start, Access::write), FaultOutcome::access_error);
  // The last reference to a handler's context is the fault's own.
  const Range t = told(1);
  const int before = handler_.calls;
  handler_.answer = [](const UserFault&, const std::stop_token&) { return UserFaultAnswer::wait; };
  std::jthread waits([&] { EXPECT_EQ(fault(t.start, Access::read), FaultOutcome::map_error); });
  await_calls(before + 1);
  EXPECT_TRUE(space_->unmap(t.start, kPageSize));
  faults_.reset();
  waits.join();
}

// Two VMAs are held to move a page from one to the other, in both directions, while a writer wants
// both: whoever waited for the second under the first would be waited for.
TEST_P(UserFaultRace, r19_two_vmas_are_never_waited_for_under_one_of_them) {
  constexpr int kRounds = 300;
  const Range r = map(3);
  ASSERT_TRUE(space_->protect(page_of(r, 1), kPageSize, Prot::none));
  const Range a{r.start, page_of(r, 1)};
  const Range b{page_of(r, 2), r.end};
  ASSERT_TRUE(faults_->register_range(a.start, kPageSize, kMissing));
  ASSERT_TRUE(faults_->register_range(b.start, kPageSize, kMissing));
  ASSERT_FALSE(faults_->copy(a.start, page_full_of(42)).error);
  std::atomic<int> moved{0};
  std::vector<std::jthread> threads;
  threads.reserve(4);
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        const UserFaultDone done =
            faults_->move(t == 0 ? b.start : a.start, t == 0 ? a.start : b.start, kPageSize);
        if (!done.error) {
          ++moved;
        } else {
          ASSERT_TRUE(done.error == Error::exist || done.error == Error::noent);
        }
      }
    });
  }
  threads.emplace_back([&] {
    for (int i = 0; i < kRounds; ++i) {
      ASSERT_TRUE(space_->advise(r.start, r.bytes(), i % 2 == 0 ? Advice::random : Advice::normal));
    }
  });
  threads.clear();
  EXPECT_GT(moved, 0);
  const bool at_a = space_->translate(a.start, Access::read) != nullptr;
  EXPECT_NE(at_a, space_->translate(b.start, Access::read) != nullptr);
  EXPECT_EQ(read64(at_a ? a.start : b.start), 42u);
}

// The same as a schedule that is forced: the writer has the second VMA, and will want the first.
TEST_P(UserFaultRace, r19_the_first_vma_is_let_go_of_before_the_mmap_lock_is_waited_for) {
  if (!has_vma_locks()) GTEST_SKIP() << "nobody holds a VMA";
  const Range r = map(3);
  const Address second = r.start;
  const Address middle = page_of(r, 1);
  const Address first = page_of(r, 2);
  ASSERT_TRUE(space_->protect(middle, kPageSize, Prot::none));
  for (const Address a : {first, second}) {
    ASSERT_TRUE(faults_->register_range(a, kPageSize, kMissing));
  }
  ASSERT_FALSE(faults_->copy(second, page_full_of(42)).error);
  std::optional<VmaRead> held = space_->try_read_vma(middle);
  ASSERT_TRUE(held);
  std::jthread writer([&] { EXPECT_TRUE(space_->advise(r.start, r.bytes(), Advice::random)); });
  while (space_->try_read_vma(second)) std::this_thread::yield();
  // The writer waits for the middle.
  std::jthread mover([&] { EXPECT_FALSE(faults_->move(first, second, kPageSize).error); });
  // Time for the mover to get the first and miss the second.
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  held.reset();
  writer.join();
  mover.join();
  EXPECT_EQ(read64(first), 42u);
}

struct FailingAllocation {
  uint64_t left = 0;
  static bool fails(void* self) {
    auto& f = *static_cast<FailingAllocation*>(self);
    if (f.left == 0) return true;
    --f.left;
    return false;
  }
};

// What may fail is had before a VMA is touched: no half-registered one is left.
TEST_P(UserFaultRace, r27_without_memory_nothing_is_registered_by_halves) {
  const Range r = map(60);
  auto& vm = soft().vm();
  const auto set_hook = [&](FailingAllocation* f) {
    const AllocationHook hook =
        f != nullptr ? AllocationHook{&FailingAllocation::fails, f} : AllocationHook{};
    vm.nodes.set_allocation_hook(hook);
    with_design(GetParam(),
                [&]<class L>(DesignType<L>) { vm.template vmas<L>().set_allocation_hook(hook); });
  };
  int failed = 0;
  for (uint64_t n = 0, part = 1; part < 59; ++n) {
    FailingAllocation failing{n};
    set_hook(&failing);
    const auto before = space_->vmas().size();
    const int error = register_error({page_of(r, part), page_of(r, part + 1)}, kMissing);
    set_hook(nullptr);
    ASSERT_EQ(space_->check(), "");
    if (error == 0) {
      part += 2;
      n = ~uint64_t{0};
      continue;
    }
    ++failed;
    ASSERT_EQ(error, ENOMEM);
    ASSERT_EQ(space_->vmas().size(), before);
    ASSERT_EQ(modes_at(page_of(r, part)), UserFaultModes::none);
  }
  EXPECT_GT(failed, 0);
  FailingAllocation failing{0};
  set_hook(&failing);
  faults_.reset();  // Cannot fail.
  set_hook(nullptr);
  for (const VmaInfo& v : space_->vmas()) EXPECT_EQ(v.user_faults, UserFaultModes::none);
}

// --- load --------------------------------------------------------------------------------------

// A pager: its threads move pages to a place of their own and back when they are touched, close
// them for a moment to read them in peace, while others store, load, split and merge. The words of
// a page only rise: one that falls was lost.
class Pager {
 public:
  static constexpr uint64_t kPages = 12;

  Pager(AddressSpace& space, UserFaults& faults, Range pages, Range store)
      : space_(space), faults_(faults), pages_(pages), store_(store) {}

  UserFaultAnswer bring(const UserFault& f) {
    if (f.kind == kClosing) return UserFaultAnswer::wait;
    const uint64_t p = (f.address - pages_.start) >> kPageShift;
    const std::scoped_lock lock(mutexes_[p]);
    const UserFaultDone done = away_[p] ? faults_.move(f.address, page_of(store_, p), kPageSize)
                                        : faults_.zero_pages(f.address, kPageSize);
    if (done.error && *done.error != Error::exist) ADD_FAILURE() << error_name(*done.error);
    away_[p] = false;
    return UserFaultAnswer::look_again;
  }
  void send_away(uint64_t p) {
    const std::scoped_lock lock(mutexes_[p]);
    if (away_[p]) return;
    const UserFaultDone done = faults_.move(page_of(store_, p), page_of(pages_, p), kPageSize);
    if (!done.error) away_[p] = true;
    if (done.error && *done.error != Error::noent) ADD_FAILURE() << error_name(*done.error);
  }
  void look_in_peace(uint64_t p) {
    const std::scoped_lock lock(mutexes_[p]);
    const Address a = page_of(pages_, p);
    if (space_.translate(a, Access::read) == nullptr) return;  // The handler wants the mutex.
    ASSERT_TRUE(faults_.write_protect(a, kPageSize));
    std::array<uint64_t, 2> first{};
    std::array<uint64_t, 2> second{};
    ASSERT_EQ(space_.load(a, std::as_writable_bytes(std::span(first))), FaultOutcome::resolved);
    std::this_thread::yield();
    ASSERT_EQ(space_.load(a, std::as_writable_bytes(std::span(second))), FaultOutcome::resolved);
    ASSERT_EQ(first, second);
    ASSERT_TRUE(faults_.write_protect(a, kPageSize, UserProtectFlags::none));
  }

 private:
  AddressSpace& space_;
  UserFaults& faults_;
  const Range pages_;
  const Range store_;
  std::array<std::mutex, kPages> mutexes_;
  std::array<bool, kPages> away_{};
};

TEST_P(UserFaultRace, nothing_is_lost_while_pages_go_and_come_and_the_map_changes) {
  constexpr int kSteps = 1500;
  const Range r = told(Pager::kPages, kMissing | kClosing);
  const Range store = told(Pager::kPages, kMissing | kClosing);
  Pager pager(*space_, *faults_, r, store);
  handler_.answer = [&](const UserFault& f, const std::stop_token&) { return pager.bring(f); };
  std::array<std::array<uint64_t, 2>, Pager::kPages> stored{};
  std::vector<std::jthread> threads;
  threads.reserve(4);
  for (unsigned t = 0; t < 2; ++t) {  // Each stores to a word of its own in every page.
    threads.emplace_back([&, t] {
      std::mt19937 random(t + 1);
      for (int i = 0; i < kSteps && !HasFatalFailure(); ++i) {
        const uint64_t p = random() % Pager::kPages;
        uint64_t& word = stored[p][t];
        ASSERT_EQ(read64(page_of(r, p) + 8 * t), word);
        write64(page_of(r, p) + 8 * t, ++word);
      }
    });
  }
  threads.emplace_back([&] {
    std::mt19937 random(7);
    for (int i = 0; i < kSteps && !HasFatalFailure(); ++i) {
      const uint64_t p = random() % Pager::kPages;
      if (random() % 4 == 0) {
        pager.look_in_peace(p);
      } else {
        pager.send_away(p);
      }
    }
  });
  threads.emplace_back([&] {
    std::mt19937 random(9);
    for (int i = 0; i < kSteps / 4 && !HasFatalFailure(); ++i) {
      const Range& where = random() % 2 == 0 ? r : store;
      const uint64_t p = random() % Pager::kPages;
      const Advice advice = random() % 2 == 0 ? Advice::random : Advice::normal;
      ASSERT_TRUE(space_->advise(page_of(where, p), kPageSize, advice));
    }
  });
  threads.clear();
  for (uint64_t p = 0; p < Pager::kPages; ++p) {
    for (uint64_t t = 0; t < 2; ++t) EXPECT_EQ(read64(page_of(r, p) + 8 * t), stored[p][t]);
  }
  EXPECT_EQ(space_->check(), "");
  handler_.answer = [](const UserFault&, const std::stop_token&) {
    return UserFaultAnswer::bus_error;
  };
}

// Faults are woken, stopped, unregistered under and registered again: none is left behind.
TEST_P(UserFaultRace, every_fault_ends_whatever_happens_to_its_range) {
  constexpr int kRounds = 200;
  const Range r = map(4);
  const auto faults = *space_->create_user_faults();
  std::stop_source over;
  std::vector<std::jthread> threads;
  threads.reserve(4);
  for (unsigned t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < kRounds; ++i) {
        std::stop_source stop;
        const bool kill = random() % 4 == 0;
        if (kill) stop.request_stop();
        const FaultOutcome o = space_->handle_fault(page_of(r, random() % 4), Access::write,
                                                    FaultOrigin::user, stop.get_token());
        ASSERT_TRUE(o == FaultOutcome::resolved || (kill && o == FaultOutcome::interrupted));
      }
    });
  }
  std::jthread monitor([&] {
    while (const std::optional<UserFault> f = faults->next(over.get_token())) {
      // Either it brings the page, or it finds out that it need not.
      (void)faults->zero_pages(f->address, kPageSize, UserFillFlags::dont_wake);
      (void)faults->wake(f->address, kPageSize);
    }
  });
  std::jthread mapper([&] {
    std::mt19937 random(5);
    for (int i = 0; i < kRounds && !over.stop_requested(); ++i) {
      const uint64_t p = random() % 4;
      (void)faults->register_range(page_of(r, p), kPageSize, kMissing);
      (void)space_->advise(r.start, r.bytes(), Advice::dontneed);
      (void)faults->unregister_range(page_of(r, random() % 4), kPageSize);
    }
  });
  threads.clear();
  mapper.join();
  over.request_stop();
}

INSTANTIATE_TEST_SUITE_P(Designs, UserFaultRace, ::testing::ValuesIn(kDesigns), test::design_of);

}  // namespace
}  // namespace pervma

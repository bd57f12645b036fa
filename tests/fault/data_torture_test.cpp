// Data is never wrong: threads that change one map and each know every word of their own part of
// it.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <thread>
#include <vector>

#include "sync/rcu.h"
#include "tests/fault/data_owner.h"
#include "tests/fault/failing_store.h"

namespace pervma {
namespace {

using namespace test;  // NOLINT: the suite speaks its language

constexpr Prot kRw = Prot::read | Prot::write;
constexpr uint64_t kPart = Owner::kPart;

class DataTorture : public ::testing::TestWithParam<Design> {
 protected:
  static constexpr unsigned kThreads = 4;
#if defined(PERVMA_TSAN)
  static constexpr int kSteps = 800;
#else
  static constexpr int kSteps = 2000;
#endif
  static constexpr int kStepsShort = 250;  // where most faults wait for a grace period
  static constexpr Address kBase{0x10'0000'0000 - 2 * kPart * kPageSize};  // crosses tables
  // A quarter of all pages, and the tables.
  static constexpr PageCount quarter(Mixture m) {
    return {kThreads * Owner::pages_of(m) / 4 + (m == Mixture::huge ? 64 : 24)};
  }

  static constexpr PageCount kPlenty{20'000};

  void start(PageCount frames, Mixture mixture = Mixture::maps,
             std::shared_ptr<PageStore> store = nullptr) {
    const bool huge = mixture == Mixture::huge;
    engine_ = *Engine::create({.frames = frames,
                               .swap = std::move(store),
                               .collapser = huge ? CollapserKind::thread : CollapserKind::by_hand});
    SpaceOptions space;
    space.design = GetParam();
    space.huge_pages = huge ? HugePages::always : HugePages::advised;
    space_ = *engine_->create_space(space);
    tlb_ = std::make_unique<ShadowTlb>(*space_);
    for (unsigned t = 0; t < kThreads; ++t) {
      owners_.push_back(
          std::make_unique<Owner>(soft(), *space_, tlb_.get(), t, ++seed_ * 7919 + t, mixture));
    }
  }
  SoftEngine& soft() { return static_cast<SoftEngine&>(*engine_); }
  void run(int steps = kSteps) {
    tlb_->resume();
    ASSERT_TRUE(space_->add_notifier(*tlb_));
    for (const auto& o : owners_) o->is_rough = true;
    std::jthread helper([this](const std::stop_token& stop) { help(stop); });
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (unsigned t = 0; t < kThreads; ++t) {
      threads.emplace_back([this, t, steps] {
        for (int i = 0; i < steps && !owners_[t]->failed && !HasFatalFailure(); ++i) {
          owners_[t]->step();
        }
      });
    }
    threads.clear();
    helper.request_stop();
    helper.join();
    for (const auto& o : owners_) o->is_rough = false;
    EXPECT_EQ(tlb_->stale(), 0);
    tlb_->pause();
    space_->remove_notifier(*tlb_);
    ASSERT_EQ(tlb_->open(), 0u);
  }
  // Brings pages, and has the secondary MMU come and go.
  void help(const std::stop_token& stop) {
    std::mt19937_64 random(seed_);
    for (int turn = 1; !stop.stop_requested(); ++turn) {
      for (const auto& o : owners_) o->help(random);
      if (turn % 16 == 0) {
        EXPECT_EQ(tlb_->stale(), 0);
      }
      if (turn % 64 == 0) {
        tlb_->pause();
        space_->remove_notifier(*tlb_);
        EXPECT_EQ(tlb_->open(), 0u);
        EXPECT_TRUE(space_->add_notifier(*tlb_));
        tlb_->resume();
      }
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }
  // Everything at once; pages go out, and neither memory nor the store is to be relied on.
  void run_everything(StoreKind kind, Mixture mixture = Mixture::everything, int rounds = 1,
                      PageCount frames = {0}) {
    const auto store = make_store(kind, {8'000});
    start(frames.value != 0 ? frames : quarter(mixture), mixture, store);
    for (int round = 0; round < rounds && !HasFailure(); ++round) {
      store->fail_writes = 7;
      store->fail_reads = 11;
      run(frames.value != 0 ? kSteps : kStepsShort);
      soft().frames().fail_never();
      store->fail_writes = store->fail_reads = 0;
      for (const auto& o : owners_) o->check_all();
      ASSERT_EQ(space_->check(), "");
    }
    EXPECT_NE(engine_->swap_counters().out, 0u);
    finish();
    EXPECT_EQ(engine_->swap_counters().slots, 0u);
  }
  uint64_t refused() const {
    uint64_t n = 0;
    for (const auto& o : owners_) n += o->refused();
    return n;
  }
  void finish() {
    for (const auto& o : owners_) {
      o->check_all();
      for (const auto& [what, n] : o->counts()) counts_[what] += n;
      counts_["accesses refused"] += o->refused();
    }
    EXPECT_EQ(space_->check(), "");
    owners_.clear();
    space_.reset();
    engine_->quiesce();
    EXPECT_EQ(engine_->frames_used(), PageCount{0});
  }

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<AddressSpace> space_;
  std::unique_ptr<ShadowTlb> tlb_;
  std::vector<std::unique_ptr<Owner>> owners_;
  Owner::Counts counts_;
  unsigned seed_ = 0;
};

TEST_P(DataTorture, every_byte_is_what_its_owner_stored_last) {
  run_everything(StoreKind::lz4, Mixture::huge, 1, kPlenty);
}

TEST_P(DataTorture, out_of_memory_loses_nothing) {
  start({20});
  run(kStepsShort);
  EXPECT_NE(refused(), 0u);
  finish();
}

TEST_P(DataTorture, nothing_is_lost_in_compressed_memory) { run_everything(StoreKind::lz4); }

TEST_P(DataTorture, nothing_is_lost_in_a_file) { run_everything(StoreKind::file); }

TEST_P(DataTorture, nothing_is_lost_of_huge_pages) {
  run_everything(StoreKind::zstd, Mixture::huge);
}

// While forks copy the map, no store of the parent may reach a child, nor the other way round.
TEST_P(DataTorture, a_forks_child_is_frozen_at_the_moment_of_the_fork) {
  start({20'000});
  std::jthread forker([&](const std::stop_token& stop) {
    constexpr uint64_t kPages = kThreads * kPart;
    while (!stop.stop_requested() && !HasFatalFailure()) {
      const Result<std::unique_ptr<AddressSpace>> child = engine_->fork(*space_);
      ASSERT_TRUE(child);
      std::vector<uint64_t> first;
      for (int pass = 0; pass < 3; ++pass) {
        for (uint64_t w = 0; w < kPages * 8; ++w) {
          const Address a = kBase + w * 512;
          uint64_t value = 0;
          if ((*child)->load(a, writable_bytes_of(value)) != FaultOutcome::resolved) value = 1;
          if (pass == 0) {
            first.push_back(value);
          } else {
            ASSERT_EQ(value, first[w]);
          }
          // In the last pass the child writes, into words that the parents never look at alone.
          if (pass == 1) (void)(*child)->store(a, bytes_of(value));
        }
      }
      ASSERT_EQ((*child)->check(), "");
    }
  });
  run();
  forker.request_stop();
  forker.join();
  finish();
}

// By hand, as long as PERVMA_TORTURE_SECONDS says (a minute when it does not), the stores in turn;
// says what was done. PERVMA_TORTURE_SEED: other choices.
class LongDataTorture : public DataTorture {};

TEST_P(LongDataTorture, nothing_is_lost_in_any_store) {
  const auto number = [](const char* name, int otherwise) {
    const char* const asked = std::getenv(name);
    return asked != nullptr ? std::atoi(asked) : otherwise;
  };
  seed_ = static_cast<unsigned>(number("PERVMA_TORTURE_SEED", 0)) * 1'000'000u;
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::seconds(number("PERVMA_TORTURE_SECONDS", 60));
  const auto one = [&](StoreKind kind, Mixture mixture, PageCount frames) {
    if (HasFailure() || std::chrono::steady_clock::now() >= end) return;
    run_everything(kind, mixture, 3, frames);
    const SwapCounters swapped = engine_->swap_counters();
    counts_["pages out"] += swapped.out;
    counts_["pages in"] += swapped.in;
    counts_["spaces"] += 1;
    counts_["steps"] += uint64_t{3} * kThreads * (frames.value != 0 ? kSteps : kStepsShort);
  };
  while (std::chrono::steady_clock::now() < end && !HasFailure()) {
    for (const StoreKind kind : {StoreKind::lz4, StoreKind::zstd, StoreKind::file}) {
      one(kind, Mixture::huge, {0});
      one(kind, Mixture::everything, {0});
      one(kind, Mixture::huge, kPlenty);
    }
  }
  for (const auto& [what, n] : counts_) std::cout << what << ": " << n << '\n';
}

INSTANTIATE_TEST_SUITE_P(Designs, LongDataTorture, ::testing::ValuesIn(kDesigns),
                         [](const auto& design) { return std::string(design_name(design.param)); });
INSTANTIATE_TEST_SUITE_P(Designs, DataTorture, ::testing::ValuesIn(kDesigns),
                         [](const auto& design) { return std::string(design_name(design.param)); });

// Threads that store to one page while its right to be written comes and goes: a store that returns
// before the right is taken is seen, one that comes after is refused.
TEST(DataAccess, no_store_arrives_after_protect_has_returned) {
  const auto engine = *Engine::create({.frames = {100}});
  const auto space = *engine->create_space({});
  const Address a = *space->map(
      {.length = kPageSize, .prot = kRw, .flags = MapFlags::private_ | MapFlags::anonymous});
  std::vector<std::jthread> writers;
  writers.reserve(2);
  for (uint64_t t = 0; t < 2; ++t) {
    writers.emplace_back([&, t](const std::stop_token& stop) {
      std::vector<uint64_t> block(256, 0);
      for (uint64_t i = 1; !stop.stop_requested(); ++i) {
        std::fill(block.begin(), block.end(), i * 2 + t);
        (void)space->store(a + t * 2048, std::as_bytes(std::span(block)));
      }
    });
  }
  std::vector<uint64_t> before(512);
  std::vector<uint64_t> after(512);
  for (int round = 0; round < 40; ++round) {
    ASSERT_TRUE(space->protect(a, kPageSize, Prot::read));
    ASSERT_EQ(space->load(a, std::as_writable_bytes(std::span(before))), FaultOutcome::resolved);
    for (int again = 0; again < 20; ++again) {
      ASSERT_EQ(space->load(a, std::as_writable_bytes(std::span(after))), FaultOutcome::resolved);
      ASSERT_EQ(before, after);
    }
    // Stores are whole: none was cut by the protection.
    for (size_t i = 1; i < 256; ++i) {
      ASSERT_EQ(before[i], before[0]);
      ASSERT_EQ(before[256 + i], before[256]);
    }
    ASSERT_TRUE(space->protect(a, kPageSize, kRw));
    // The writers run, and are likely to lose their CPU to this thread in the middle of a store.
    std::this_thread::yield();
  }
}

// A load that has found a page must not show what the page's next owner wrote into it.
TEST(DataAccess, a_load_never_shows_a_page_that_left_its_entry) {
  const auto engine = *Engine::create({.frames = {2'000}});
  const auto parent = *engine->create_space({});
  const Address a = *parent->map(
      {.length = kPageSize, .prot = kRw, .flags = MapFlags::private_ | MapFlags::anonymous});
  const std::jthread reader([&](const std::stop_token& stop) {
    std::vector<uint64_t> page(512);
    while (!stop.stop_requested()) {
      ASSERT_EQ(parent->load(a, std::as_writable_bytes(std::span(page))), FaultOutcome::resolved);
      // The child's mark never shows here.
      for (const uint64_t word : page) ASSERT_NE(word, 0xc41d'c41d'c41d'c41d);
    }
  });
  std::vector<uint64_t> child_page(512, 0xc41d'c41d'c41d'c41d);
  for (uint64_t round = 1; round <= 2000; ++round) {
    ASSERT_EQ(parent->store(a, bytes_of(round)), FaultOutcome::resolved);
    const auto child = *engine->fork(*parent);
    // The parent takes a copy; the child is left with the page and writes into it in place.
    ASSERT_EQ(parent->store(a, bytes_of(round)), FaultOutcome::resolved);
    ASSERT_EQ(child->store(a, std::as_bytes(std::span(child_page))), FaultOutcome::resolved);
  }
}

}  // namespace
}  // namespace pervma

// Data is never wrong: threads that change one map and each know every word of their own part of
// it.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
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

// Only counts: what is told at the start is told at the end.
class Balance final : public PageNotifier {
 public:
  void invalidate_start(Range) noexcept override { open_.fetch_add(1, std::memory_order_relaxed); }
  void invalidate_end(Range) noexcept override { open_.fetch_sub(1, std::memory_order_relaxed); }
  int open() const noexcept { return open_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int> open_{0};
};

class DataTorture : public ::testing::TestWithParam<Design> {
 protected:
  static constexpr unsigned kThreads = 4;
#if defined(PERVMA_TSAN)
  static constexpr int kSteps = 800;
#else
  static constexpr int kSteps = 2000;
#endif
  static constexpr int kStepsShort = 400;  // where most faults wait for a grace period
  static constexpr Address kBase{0x10'0000'0000 - 2 * kPart * kPageSize};  // crosses tables
  // A quarter of all pages, and the tables.
  static constexpr uint64_t kFewFrames = kThreads * kPart / 4 + 10;

  void start(PageCount frames, Mixture mixture = Mixture::maps,
             std::shared_ptr<PageStore> store = nullptr) {
    EngineOptions options;
    options.frames = frames;
    options.swap = std::move(store);
    engine_ = *Engine::create(options);
    SpaceOptions space;
    space.design = GetParam();
    space_ = *engine_->create_space(space);
    for (unsigned t = 0; t < kThreads; ++t) {
      owners_.push_back(std::make_unique<Owner>(soft(), *space_, kBase + t * kPart * kPageSize,
                                                ++seed_ * 7919 + t, mixture));
    }
  }
  SoftEngine& soft() { return static_cast<SoftEngine&>(*engine_); }
  void run(int steps = kSteps) {
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (unsigned t = 0; t < kThreads; ++t) {
      threads.emplace_back([this, t, steps] {
        for (int i = 0; i < steps && !owners_[t]->failed && !HasFatalFailure(); ++i) {
          owners_[t]->step();
        }
      });
    }
  }
  // Everything at once; pages go out, and neither memory nor the store is to be relied on.
  void run_everything(StoreKind kind, int rounds = 1) {
    const auto store = make_store(kind, {2'000});
    start({kFewFrames}, Mixture::everything, store);
    Balance balance;
    for (int round = 0; round < rounds && !HasFailure(); ++round) {
      ASSERT_TRUE(space_->add_notifier(balance));
      store->fail_writes = 7;
      store->fail_reads = 11;
      for (const auto& o : owners_) o->may_be_unreadable = true;
      run(kStepsShort);
      soft().frames().fail_never();
      store->fail_writes = store->fail_reads = 0;
      for (const auto& o : owners_) o->may_be_unreadable = false;
      space_->remove_notifier(balance);
      ASSERT_EQ(balance.open(), 0);
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
    for (const auto& o : owners_) o->check_all();
    EXPECT_EQ(space_->check(), "");
    space_.reset();
    owners_.clear();
    engine_->quiesce();
    EXPECT_EQ(engine_->frames_used(), PageCount{0});
  }

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<AddressSpace> space_;
  std::vector<std::unique_ptr<Owner>> owners_;
  unsigned seed_ = 0;
};

TEST_P(DataTorture, every_byte_is_what_its_owner_stored_last) {
  start({20'000}, Mixture::everything);
  run();
  soft().frames().fail_never();
  finish();
}

TEST_P(DataTorture, out_of_memory_loses_nothing) {
  start({20});
  run(kStepsShort);
  EXPECT_NE(refused(), 0u);
  finish();
}

TEST_P(DataTorture, nothing_is_lost_in_compressed_memory) { run_everything(StoreKind::lz4); }

TEST_P(DataTorture, nothing_is_lost_in_a_file) { run_everything(StoreKind::file); }

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

// By hand, as long as PERVMA_TORTURE_SECONDS says (a minute when it does not), the stores in turn.
class LongDataTorture : public DataTorture {};

TEST_P(LongDataTorture, nothing_is_lost_in_any_store) {
  const char* const asked = std::getenv("PERVMA_TORTURE_SECONDS");
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::seconds(asked != nullptr ? std::atoi(asked) : 60);
  while (std::chrono::steady_clock::now() < end && !HasFailure()) {
    for (const StoreKind kind : {StoreKind::lz4, StoreKind::zstd, StoreKind::file}) {
      run_everything(kind, 3);
    }
  }
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

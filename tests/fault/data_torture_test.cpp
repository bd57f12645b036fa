// Data is never wrong: threads that change one map and each know every word of their own part of
// it.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "fault/soft_engine.h"
#include "tests/fault/failing_store.h"
#include "tests/fault/support.h"

namespace pervma {
namespace {

using namespace test;  // NOLINT: the suite speaks its language

constexpr uint64_t kPart = 40;  // pages of one thread: its neighbours' parts touch it
constexpr Prot kRw = Prot::read | Prot::write;
constexpr MapFlags kFixedAnon = MapFlags::private_ | MapFlags::anonymous | MapFlags::fixed;

// One thread's part of the space, and what must be in it.
class Owner {
 public:
  Owner(AddressSpace& space, Address start, unsigned seed)
      : space_(space), start_(start), random_(seed) {}

  void step() {
    const uint64_t first = pick(kPart);
    const uint64_t count = 1 + pick(std::min<uint64_t>(kPart - first, 6));
    switch (pick(16)) {
      case 0: protect(first, count, Prot::read); break;
      case 1: protect(first, count, kRw); break;
      case 2: protect(first, count, Prot::none); break;
      case 3: drop(first, count); break;
      case 4: map_anew(first, count); break;
      case 5: unmap(first, count); break;
      case 6: move(first, count); break;
      case 7:
      case 8:
      case 9:
      case 10: load(first, pick(512)); break;
      default: store(first, pick(512)); break;
    }
  }
  void check_all() {
    for (uint64_t p = 0; p < kPart; ++p) {
      for (const uint64_t word : {0u, 7u, 511u}) load(p, word);
    }
  }
  uint64_t out_of_memory() const { return out_of_memory_; }

 private:
  struct Page {
    bool mapped = false;
    Prot prot = Prot::none;
    std::map<uint64_t, uint64_t> words;  // those that are not 0
  };

  uint64_t pick(uint64_t n) { return random_() % n; }
  Address at(uint64_t page, uint64_t word = 0) const {
    return start_ + page * kPageSize + word * 8;
  }
  template <class Change>
  void change(uint64_t first, uint64_t count, Change c) {
    for (uint64_t p = first; p < first + count; ++p) c(pages_[p]);
  }

  void map_anew(uint64_t first, uint64_t count) {
    ASSERT_TRUE(space_.map(
        {.address = at(first), .length = count * kPageSize, .prot = kRw, .flags = kFixedAnon}));
    change(first, count, [](Page& p) { p = {true, kRw, {}}; });
  }
  void unmap(uint64_t first, uint64_t count) {
    ASSERT_TRUE(space_.unmap(at(first), count * kPageSize));
    change(first, count, [](Page& p) { p = {}; });
  }
  // Up to the first hole, as Linux does.
  void protect(uint64_t first, uint64_t count, Prot prot) {
    const Result<void> done = space_.protect(at(first), count * kPageSize, prot);
    for (uint64_t p = first; p < first + count; ++p) {
      if (!pages_[p].mapped) {
        ASSERT_FALSE(done);
        ASSERT_EQ(done.error(), Error::nomem);
        return;
      }
      pages_[p].prot = prot;
    }
    ASSERT_TRUE(done);
  }
  void drop(uint64_t first, uint64_t count) {
    (void)space_.advise(at(first), count * kPageSize, Advice::dontneed);
    change(first, count, [](Page& p) { p.words.clear(); });
  }
  // Within the part, one page at a time, so that source and destination are simple.
  void move(uint64_t from, uint64_t) {
    const uint64_t to = pick(kPart);
    if (to == from || !pages_[from].mapped) return;
    const Result<Address> moved = space_.remap({.old_address = at(from),
                                                .old_length = kPageSize,
                                                .new_length = kPageSize,
                                                .flags = RemapFlags::maymove | RemapFlags::fixed,
                                                .new_address = at(to)});
    if (!moved) {
      // The destination is unmapped before the source is looked at.
      ASSERT_EQ(moved.error(), Error::nomem);
      return;
    }
    pages_[to] = pages_[from];
    pages_[from] = {};
  }

  void load(uint64_t page, uint64_t word) {
    uint64_t value = 0;
    const FaultOutcome outcome = space_.load(at(page, word), writable_bytes_of(value));
    const Page& p = pages_[page];
    if (outcome == FaultOutcome::out_of_memory) {
      ++out_of_memory_;
    } else if (!p.mapped) {
      ASSERT_EQ(outcome, FaultOutcome::map_error);
    } else if (p.prot == Prot::none) {
      ASSERT_EQ(outcome, FaultOutcome::access_error);
    } else {
      ASSERT_EQ(outcome, FaultOutcome::resolved);
      const auto found = p.words.find(word);
      ASSERT_EQ(value, found == p.words.end() ? 0 : found->second);
    }
  }
  void store(uint64_t page, uint64_t word) {
    const uint64_t value = random_();
    const FaultOutcome outcome = space_.store(at(page, word), bytes_of(value));
    Page& p = pages_[page];
    if (outcome == FaultOutcome::out_of_memory) {
      ++out_of_memory_;
    } else if (!p.mapped) {
      ASSERT_EQ(outcome, FaultOutcome::map_error);
    } else if (p.prot != kRw) {
      ASSERT_EQ(outcome, FaultOutcome::access_error);
    } else {
      ASSERT_EQ(outcome, FaultOutcome::resolved);
      p.words[word] = value;
    }
  }

  AddressSpace& space_;
  const Address start_;
  std::mt19937_64 random_;
  std::array<Page, kPart> pages_;
  uint64_t out_of_memory_ = 0;
};

class DataTorture : public ::testing::TestWithParam<Design> {
 protected:
  static constexpr unsigned kThreads = 4;
  static constexpr int kSteps = 4000;
  static constexpr uint64_t kFewFrames = 28;  // a part of all pages, and the tables
  static constexpr Address kBase{0x10'0000'0000 - 2 * kPart * kPageSize};  // crosses tables

  void start(PageCount frames, std::shared_ptr<PageStore> store = nullptr) {
    EngineOptions options;
    options.frames = frames;
    options.swap = std::move(store);
    engine_ = *Engine::create(options);
    SpaceOptions space;
    space.design = GetParam();
    space_ = *engine_->create_space(space);
    for (unsigned t = 0; t < kThreads; ++t) {
      owners_.push_back(
          std::make_unique<Owner>(*space_, kBase + t * kPart * kPageSize, t * 7919 + 3));
    }
  }
  void run() {
    std::vector<std::jthread> threads;
    threads.reserve(kThreads);
    for (unsigned t = 0; t < kThreads; ++t) {
      threads.emplace_back([this, t] {
        for (int i = 0; i < kSteps && !HasFatalFailure(); ++i) owners_[t]->step();
      });
    }
  }
  void finish() {
    for (const auto& o : owners_) o->check_all();
    EXPECT_EQ(space_->check(), "");
    owners_.clear();
    space_.reset();
    engine_->quiesce();
    EXPECT_EQ(engine_->frames_used(), PageCount{0});
  }

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<AddressSpace> space_;
  std::vector<std::unique_ptr<Owner>> owners_;
};

TEST_P(DataTorture, every_word_is_what_its_owner_stored_last) {
  start({5'000});
  run();
  finish();
}

TEST_P(DataTorture, out_of_memory_loses_nothing) {
  start({kFewFrames});
  run();
  uint64_t failed = 0;
  for (const auto& o : owners_) failed += o->out_of_memory();
  EXPECT_NE(failed, 0u);
  finish();
}

// A quarter of what is written fits into memory, and the store fails now and then.
TEST_P(DataTorture, nothing_is_lost_in_compressed_memory) {
  const auto store = make_store(StoreKind::lz4, {1'000});
  store->fail_writes = 7;
  start({kFewFrames}, store);
  run();
  EXPECT_NE(engine_->swap_counters().out, 0u);
  finish();
  EXPECT_EQ(engine_->swap_counters().slots, 0u);
}

TEST_P(DataTorture, nothing_is_lost_in_a_file) {
  start({kFewFrames}, make_store(StoreKind::file, {1'000}));
  run();
  finish();
  EXPECT_EQ(engine_->swap_counters().slots, 0u);
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

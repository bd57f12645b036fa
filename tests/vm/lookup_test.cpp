// From an address to a VMA without the mmap lock: alone, and beside writers.
#include <atomic>
#include <thread>

#include "vm/lookup.h"
#include "vm/support.h"

namespace pervma::test {
namespace {

template <class L>
class Lookup : public SpaceTest<L> {
 protected:
  using Space = TestSpace<L>;
};
TYPED_TEST_SUITE(Lookup, LockingDesigns);

TYPED_TEST(Lookup, a_free_vma_is_locked_and_given_back) {
  this->build(".AA.");
  const auto found = this->space().lock_vma_under_rcu(page_at(1));
  ASSERT_EQ(found.end, LookupEnd::locked);
  EXPECT_EQ(found.vma->range, (Range{page_at(1), page_at(3)}));
  TestFixture::Space::end_read(*found.vma, found.token);
  EXPECT_EQ(this->space().lock_vma_under_rcu(page_at(0)).end, LookupEnd::aborted);
  EXPECT_EQ(this->space().lock_vma_under_rcu(page_at(3)).end, LookupEnd::aborted);
}

TYPED_TEST(Lookup, a_pinned_vma_tells_what_it_is) {
  this->build(".aa.");
  const std::optional<VmaRead> pin = this->space().try_read_vma(page_at(2));
  ASSERT_TRUE(pin);
  EXPECT_EQ(pin->info().range, (Range{page_at(1), page_at(3)}));
  EXPECT_NE(pin->info().anon_vma, 0u);
}

TYPED_TEST(Lookup, what_a_writer_has_locked_is_refused_until_its_hold_ends) {
  this->build("AA.AA");
  {
    const MmapWrite write(this->space().mmap_lock());
    auto* v = this->space().vma_at(page_at(0));
    v->lock_write(this->space().mmap_lock());
    EXPECT_EQ(this->space().lock_vma_under_rcu(page_at(0)).end, LookupEnd::aborted);
    // The mmap lock alone excludes no reader of a VMA.
    const auto other = this->space().lock_vma_under_rcu(page_at(3));
    ASSERT_EQ(other.end, LookupEnd::locked);
    TestFixture::Space::end_read(*other.vma, other.token);
  }
  const auto found = this->space().lock_vma_under_rcu(page_at(0));
  ASSERT_EQ(found.end, LookupEnd::locked);
  TestFixture::Space::end_read(*found.vma, found.token);
}

TYPED_TEST(Lookup, the_next_vma_is_found_across_a_gap) {
  this->build("..AA..RR");
  const auto next = [this](uint64_t from, uint64_t limit) -> int64_t {
    const auto found = this->space().lock_next_vma(page_at(from), page_at(limit));
    if (found.vma == nullptr) return -1;
    const auto start = static_cast<int64_t>((found.vma->start() - kBase) >> kPageShift);
    TestFixture::Space::end_read(*found.vma, found.token);
    return start;
  };
  EXPECT_EQ(next(0, 100), 2);
  EXPECT_EQ(next(3, 100), 2);
  EXPECT_EQ(next(4, 100), 6);
  EXPECT_EQ(next(4, 6), -1);
  EXPECT_EQ(next(8, 100), -1);
}

// --- beside a writer
// -------------------------------------------------------------------------------

// The writer alone changes the map; readers must only ever see a state between two operations.
// Every VMA that a reader holds has to be whole: its page offset belongs to its start, and its
// rights to its place.
template <class L>
class BesideAWriter : public Lookup<L> {
 protected:
  static constexpr uint64_t kPages = 48;
  static constexpr int kRounds = 1500;

  // Maps page n so that offset = n, and an even block of pages is readable, an odd one writable.
  static Prot prot_of(uint64_t page) { return (page / 4) % 2 == 0 ? Prot::read : Lookup<L>::kRw; }

  void map_block(uint64_t block) {
    ASSERT_TRUE(
        this->map(block * 4, 4, prot_of(block * 4), MapFlags::private_, this->file_, block * 4));
  }

  void check_held(const VmaFields& v) {
    const uint64_t start = (v.start() - kBase) >> kPageShift;
    const uint64_t end = (v.end() - kBase) >> kPageShift;
    if (v.pgoff != start || start >= end || end > kPages ||
        v.flags().has(VmaFlag::write) != any(prot_of(start) & Prot::write) ||
        start / 4 != (end - 1) / 4) {
      ++wrong_;
    }
  }

  template <class Read>
  void run(Read read) {
    for (uint64_t b = 0; b < kPages / 4; ++b) map_block(b);
    std::atomic<bool> stop{false};
    std::vector<std::thread> readers;
    readers.reserve(2);
    for (unsigned r = 0; r < 2; ++r) {
      readers.emplace_back([&, r] {
        uint64_t page = r * 7;
        while (!stop.load(std::memory_order_relaxed)) read(page = (page * 5 + 11) % kPages);
      });
    }
    for (int i = 0; i < kRounds; ++i) {
      const uint64_t block = static_cast<uint64_t>(i) * 7 % (kPages / 4);
      switch (i % 3) {
        case 0: EXPECT_EQ(this->unmap(block * 4 + 1, 2), 0); break;  // shrink and split
        case 1: EXPECT_EQ(this->unmap(block * 4, 4), 0); break;      // detach
        default: EXPECT_EQ(this->advise(block * 4 + 1, 1, Advice::dontfork) & ~ENOMEM, 0); break;
      }
      map_block(block);  // replaces what is left
    }
    stop.store(true, std::memory_order_relaxed);
    for (std::thread& t : readers) t.join();
    EXPECT_EQ(wrong_, 0u);
    EXPECT_EQ(this->space().check(), "");
  }

  std::atomic<uint64_t> wrong_{0};
};
TYPED_TEST_SUITE(BesideAWriter, LockingDesigns);

TYPED_TEST(BesideAWriter, who_is_locked_is_whole_and_covers_the_address) {
  this->run([this](uint64_t page) {
    const auto found = this->space().lock_vma_under_rcu(page_at(page));
    if (found.end != LookupEnd::locked) return;
    if (!found.vma->range.contains(page_at(page))) ++this->wrong_;
    this->check_held(*found.vma);
    TestFixture::Space::end_read(*found.vma, found.token);
  });
}

TYPED_TEST(BesideAWriter, the_next_vma_is_whole_and_begins_or_holds_the_address) {
  this->run([this](uint64_t page) {
    const auto found = this->space().lock_next_vma(page_at(page), page_at(TestFixture::kPages));
    if (found.vma == nullptr) return;
    if (found.vma->end() <= page_at(page)) ++this->wrong_;
    this->check_held(*found.vma);
    TestFixture::Space::end_read(*found.vma, found.token);
  });
}

TYPED_TEST(BesideAWriter, a_gap_is_reported_only_where_one_was) {
  // A guard that moves between two places but is always in one: a walk that finds neither is wrong.
  ASSERT_TRUE(this->map(10, 1, TestFixture::kRw));
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      const auto found = this->space().lock_next_vma(page_at(0), page_at(40));
      if (found.vma == nullptr) {
        ++this->wrong_;
      } else {
        TestFixture::Space::end_read(*found.vma, found.token);
      }
    }
  });
  for (int i = 0; i < TestFixture::kRounds; ++i) {
    ASSERT_EQ(this->move(i % 2 == 0 ? 10 : 20, 1, 1, i % 2 == 0 ? 20 : 10), i % 2 == 0 ? 20 : 10);
  }
  stop.store(true, std::memory_order_relaxed);
  reader.join();
  EXPECT_EQ(this->wrong_, 0u);
}

// R20 for whole walks: a VMA that is always in one of two places is never missed by a reading.
TYPED_TEST(BesideAWriter, a_reading_of_the_map_misses_nothing_that_was_always_there) {
  ASSERT_TRUE(this->map(10, 1, TestFixture::kRw));
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      if (this->space().to_maps().empty()) ++this->wrong_;
      if (this->space().statistics().vmas == 0) ++this->wrong_;
    }
  });
  for (int i = 0; i < TestFixture::kRounds; ++i) {
    ASSERT_EQ(this->move(i % 2 == 0 ? 10 : 20, 1, 1, i % 2 == 0 ? 20 : 10), i % 2 == 0 ? 20 : 10);
  }
  stop.store(true, std::memory_order_relaxed);
  reader.join();
  EXPECT_EQ(this->wrong_, 0u);
}

TYPED_TEST(Lookup, the_map_is_read_and_counted_without_the_mmap_lock) {
  this->build("aa.RR..laa");
  const LockCounters before = this->space().lock_counters();
  EXPECT_EQ(std::ranges::count(this->space().to_maps(), '\n'), 4);
  const SpaceStatistics s = this->space().statistics();
  EXPECT_EQ(this->space().lock_counters().read, before.read);
  EXPECT_EQ(s.vmas, 4u);
  EXPECT_EQ(s.mapped, this->space().mapped_pages());
  EXPECT_EQ(s.locked, this->space().locked_pages());
  EXPECT_EQ(s.pages.anonymous, 3u);  // the first page of each touched VMA
}

TYPED_TEST(BesideAWriter, advice_about_pages_and_faults_run_beside_changes) {
  this->run([this](uint64_t page) {
    if (page % 2 == 0) {
      (void)this->advise(page, 1, Advice::dontneed);
    } else {
      (void)this->write(page);
    }
  });
}

}  // namespace
}  // namespace pervma::test

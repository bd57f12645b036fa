#include "fault/page_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "fault/page_entry.h"
#include "tests/fault/support.h"

namespace pervma {
namespace {

using test::pages_at;

constexpr uint64_t kLeafBytes = uint64_t{1} << 21;

class PageTableTest : public ::testing::Test {
 protected:
  PageTableTest() : table_(*frames_, frames_->alloc(FrameUse::table, Fill::zero)) {}

  uint64_t tables() const { return frames_->in_use(FrameUse::table); }
  void free_range(Range span, Range limits) {
    FrameGather gather;
    table_.free_range(span, limits, gather);
    frames_->retire(gather);
  }

  const std::unique_ptr<FramePool> frames_ = FramePool::create({1000});
  PageTable table_;
};

TEST(PageEntry, rights_come_and_go_without_touching_the_frame) {
  const PageEntry e = PageEntry::page(Frame{77}, PageKind::anon, Right::user);
  EXPECT_TRUE(e.is_present() && e.is_anon() && !e.is_dirty());
  EXPECT_TRUE(e.allows(Right::user));
  EXPECT_FALSE(e.allows(Right::write));
  const PageEntry w = e.with_rights(Right::write);
  EXPECT_TRUE(w.allows(Right::user | Right::write) && w.is_dirty());
  const PageEntry r = w.limited_to(Right::user);
  EXPECT_FALSE(r.allows(Right::write));
  EXPECT_TRUE(r.is_dirty());
  EXPECT_EQ(w.limited_to(Right::none).rights(), Right::none);
  EXPECT_EQ(r.frame(), Frame{77});
  EXPECT_FALSE(PageEntry::guard().is_present());
  EXPECT_FALSE(PageEntry::guard().is_none());
}

TEST(PageEntry, whoever_may_write_or_execute_may_read) {
  EXPECT_EQ(rights_of(VmaFlags{}), Right::none);
  EXPECT_EQ(rights_of(VmaFlag::read), Right::user);
  EXPECT_EQ(rights_of(VmaFlag::write), Right::user | Right::write);
  EXPECT_EQ(rights_of(VmaFlag::exec), Right::user | Right::exec);
}

TEST_F(PageTableTest, finds_only_what_was_ensured) {
  EXPECT_FALSE(table_.find(Address{0x1000}));
  const LeafSlot slot = table_.ensure(Address{0x1000});
  ASSERT_TRUE(slot);
  EXPECT_EQ(tables(), 4u);
  EXPECT_TRUE(table_.find(Address{0x1000}));
  EXPECT_FALSE(table_.find(Address{0x1000 + kLeafBytes}));
  EXPECT_FALSE(table_.find(PageTable::kEnd));
  EXPECT_FALSE(table_.find(Address{~uint64_t{0}}));
  ASSERT_TRUE(table_.ensure(Address{0x2000}));
  EXPECT_EQ(tables(), 4u);
}

TEST_F(PageTableTest, an_entry_is_replaced_only_when_it_is_what_was_seen) {
  const LeafSlot slot = table_.ensure(Address{0x1000});
  EXPECT_TRUE(slot.replace(PageEntry{}, PageEntry::guard()));
  EXPECT_FALSE(slot.replace(PageEntry{}, PageEntry{}));
  EXPECT_EQ(table_.find(Address{0x1000}).load(), PageEntry::guard());
  EXPECT_TRUE(table_.find(Address{0x2000}).load().is_none());
  EXPECT_TRUE(slot.replace(PageEntry::guard(), PageEntry{}));
}

TEST_F(PageTableTest, visits_the_leaves_of_a_range_in_order_and_no_entry_outside) {
  const uint64_t starts[] = {0x1ff000, 0x40000000, 0x7fff'ffff'f000};
  for (const uint64_t a : starts) ASSERT_TRUE(table_.ensure(Address{a}));
  std::vector<Range> visited;
  const auto visit = [&](const LeafSpan& leaf) {
    visited.push_back({leaf.start, leaf.start + uint64_t{leaf.last - leaf.first} * kPageSize});
  };
  table_.for_each_leaf({Address{0x1000}, Address{0x40002000}}, visit);
  ASSERT_EQ(visited.size(), 2u);
  EXPECT_EQ(visited[0], (Range{Address{0x1000}, Address{0x200000}}));
  EXPECT_EQ(visited[1], (Range{Address{0x40000000}, Address{0x40002000}}));
  visited.clear();
  table_.for_each_leaf({Address{0}, Address{~uint64_t{0}}}, visit);
  EXPECT_EQ(visited.size(), 3u);
  EXPECT_EQ(visited[2].end, Address{0x8000'0000'0000});
  visited.clear();
  table_.for_each_leaf({Address{0x3000}, Address{0x3000}}, visit);
  EXPECT_TRUE(visited.empty());
}

TEST_F(PageTableTest, frees_the_tables_that_only_the_hole_used) {
  ASSERT_TRUE(table_.ensure(Address{0}));
  ASSERT_TRUE(table_.ensure(Address{kLeafBytes}));
  ASSERT_TRUE(table_.ensure(Address{2 * kLeafBytes}));
  ASSERT_EQ(tables(), 6u);
  const Range hole = pages_at(kLeafBytes, 512);
  // The neighbours reach into the leaf: it stays.
  free_range(hole, {hole.start + kPageSize, hole.end});
  EXPECT_EQ(tables(), 6u);
  free_range(hole, hole);
  EXPECT_EQ(tables(), 5u);
  EXPECT_FALSE(table_.find(hole.start));
  EXPECT_TRUE(table_.find(Address{0}));
  free_range(pages_at(0, 1), {Address{0}, PageTable::kEnd});
  EXPECT_EQ(tables(), 1u);  // The upper tables met the span, and served nobody else.
}

TEST_F(PageTableTest, ensure_says_so_when_no_table_can_be_had) {
  for (uint64_t n = 0; n < 3; ++n) {
    frames_->fail_after(n);
    EXPECT_FALSE(table_.ensure(Address{0x7000'0000'0000 + (n << 39)}));
  }
  frames_->fail_never();
  EXPECT_TRUE(table_.ensure(Address{0x7000'0000'0000}));
}

TEST_F(PageTableTest, threads_that_ensure_the_same_tables_get_the_same_entry) {
  constexpr int kThreads = 4;
  for (uint64_t round = 0; round < 50; ++round) {
    const Address a{round << 31};
    std::atomic<int> go{0};
    std::atomic<int> made{0};
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        go.fetch_add(1);
        while (go.load() < kThreads) {
        }
        const LeafSlot slot = table_.ensure(a);
        ASSERT_TRUE(slot);
        if (slot.replace(PageEntry{}, PageEntry::guard())) made.fetch_add(1);
      });
    }
    threads.clear();
    EXPECT_EQ(made.load(), 1);
    EXPECT_TRUE(table_.find(a).replace(PageEntry::guard(), PageEntry{}));
  }
}

// The walkers' rule: what is found is empty, or the entry that belongs to the address; memory of
// tables that are gone is not reused under a walker.
TEST_F(PageTableTest, a_walk_without_locks_meets_only_its_own_entries_while_tables_come_and_go) {
  const Range spans[] = {pages_at(0, 512), pages_at(kLeafBytes, 512),
                         pages_at(4 * kLeafBytes, 512)};
  const auto entry_for = [](Address a) {
    return PageEntry::page(Frame{static_cast<uint32_t>(a.page() + 2)}, PageKind::anon, Right::user);
  };
  std::atomic<uint64_t> met{0};
  std::vector<std::jthread> walkers;
  for (int t = 0; t < 3; ++t) {
    walkers.emplace_back([&, t](const std::stop_token& stop) {
      uint64_t n = static_cast<uint64_t>(t);
      while (!stop.stop_requested()) {
        const Address a = spans[n % 3].start + (n % 512) * kPageSize;
        n = n * 6364136223846793005u + 1442695040888963407u;
        const RcuReader rcu;
        if (const LeafSlot slot = table_.find(a)) {
          const PageEntry e = slot.load();
          ASSERT_TRUE(e.is_none() || e == entry_for(a));
          if (!e.is_none()) met.fetch_add(1, std::memory_order_relaxed);
        }
      }
    });
  }
  for (int round = 0; round < 400 || met.load(std::memory_order_relaxed) < 100; ++round) {
    for (const Range span : spans) {
      for (Address a = span.start; a < span.end; a = a + 16 * kPageSize) {
        ASSERT_TRUE(table_.ensure(a).replace(PageEntry{}, entry_for(a)));
      }
    }
    for (const Range span : spans) {
      for (Address a = span.start; a < span.end; a = a + 16 * kPageSize) {
        ASSERT_TRUE(table_.find(a).replace(entry_for(a), PageEntry{}));
      }
      free_range(span, span);
    }
  }
}

}  // namespace
}  // namespace pervma

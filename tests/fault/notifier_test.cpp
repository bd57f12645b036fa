// A secondary MMU that is told of changes never shows a page that is not there any more; and pages
// that were written, and pages that come from the caller.
#include <atomic>
#include <random>
#include <thread>

#include "tests/fault/shadow_tlb.h"
#include "tests/fault/space_fixture.h"

namespace pervma {
namespace {

using namespace test;  // NOLINT: the suite speaks its language

class Notifier : public SpaceFixture {
 protected:
  // What has to be told, and what is done.
  template <class Change>
  void expect_told(const char* what, Range r, Change change) {
    SCOPED_TRACE(what);
    ShadowTlb tlb(*space_);
    ASSERT_TRUE(space_->add_notifier(tlb));
    for (Address a = r.start; a < r.end; a = a + kPageSize) {
      tlb.fill(a, Access::read);
      tlb.fill(a, Access::write);
    }
    EXPECT_NE(tlb.size(), 0u);
    change();
    EXPECT_NE(tlb.starts(), 0u);
    EXPECT_EQ(tlb.open(), 0u);
    EXPECT_EQ(tlb.stale(), 0);
    space_->remove_notifier(tlb);
  }
};

TEST_P(Notifier, every_change_of_an_entry_is_told) {
  const Range r = map(8);
  const auto fill = [&] {
    for (uint64_t p = 0; p < 8; ++p) write64(page_of(r, p), p);
  };
  fill();
  expect_told("protect", r, [&] { (void)space_->protect(r.start, r.bytes(), Prot::read); });
  (void)space_->protect(r.start, r.bytes(), kRw);
  fill();
  expect_told("dontneed", r,
              [&] { (void)space_->advise(r.start, 3 * kPageSize, Advice::dontneed); });
  fill();
  std::unique_ptr<AddressSpace> child;
  expect_told("fork", r, [&] { child = *engine_->fork(*space_); });
  expect_told("copy on write", r, fill);
  child.reset();
  expect_told("clear_written", r, [&] { (void)space_->clear_written(r.start, r.bytes()); });
  fill();
  expect_told("insert", r, [&] {
    PageBuffer page = *engine_->alloc_page();
    EXPECT_TRUE(space_->insert_pages(r.start, {&page, 1}));
  });
  expect_told("guards", r,
              [&] { (void)space_->advise(r.start, kPageSize, Advice::guard_install); });
  expect_told("move", r, [&] {
    const Range to = map(8, Prot::none);
    EXPECT_TRUE(space_->remap({.old_address = page_of(r, 1),
                               .old_length = 7 * kPageSize,
                               .new_length = 7 * kPageSize,
                               .flags = RemapFlags::maymove | RemapFlags::fixed,
                               .new_address = to.start}));
  });
  const Range last = map(2);
  write64(last.start, 1);
  expect_told("unmap", last, [&] { (void)space_->unmap(last.start, last.bytes()); });
}

TEST_P(Notifier, changes_that_come_from_a_file_are_told) {
  auto object = std::make_shared<TestObject>(4 * kPageSize, VmaLockSafety::memory);
  file_ = *engine_->open(object, FileMode::read_write);
  const Range r = map_file(file_, 4, MapFlags::shared);
  for (uint64_t p = 0; p < 4; ++p) write64(page_of(r, p), p);
  expect_told("sync", r, [&] { (void)space_->sync(r.start, r.bytes(), SyncFlags::sync); });
  expect_told("truncation", r, [&] {
    object->resize(kPageSize);
    engine_->truncate(file_);
  });
}

TEST_P(Notifier, no_translation_is_stale_beside_changes) {
  const Range all = map(64);
  ShadowTlb tlb(*space_);
  tlb.pause();
  std::atomic<bool> stop{false};
  std::vector<std::jthread> threads;
  threads.emplace_back([&] {  // the emulator
    std::mt19937 random(1);
    while (!stop.load(std::memory_order_relaxed)) {
      const Address a = page_of(all, random() % 64);
      const Access access = random() % 2 != 0 ? Access::write : Access::read;
      (void)space_->handle_fault(a, access);
      tlb.fill(a, access);
      ASSERT_EQ(tlb.stale(), 0);
    }
  });
  threads.emplace_back([&] {  // the program
    std::mt19937 random(2);
    while (!stop.load(std::memory_order_relaxed)) {
      const Address a = page_of(all, random() % 60);
      switch (random() % 4) {
        case 0: (void)space_->advise(a, 2 * kPageSize, Advice::dontneed); break;
        case 1: (void)space_->protect(a, 2 * kPageSize, Prot::read); break;
        case 2: (void)space_->protect(a, 2 * kPageSize, kRw); break;
        default: (void)engine_->fork(*space_); break;
      }
    }
  });
  // Comes and goes in the middle of all that.
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(space_->add_notifier(tlb));
    tlb.resume();
    for (int look = 0; look < 5; ++look) {
      ASSERT_EQ(tlb.stale(), 0);
      std::this_thread::yield();
    }
    tlb.pause();
    space_->remove_notifier(tlb);
    ASSERT_EQ(tlb.open(), 0u);
  }
  stop = true;
  threads.clear();
}

// --- what was written ---------------------------------------------------------------------------

TEST_P(Notifier, pages_written_since_one_asked_are_known) {
  const Range r = map(6);
  const auto written = [&] {
    std::vector<uint8_t> w(6);
    EXPECT_TRUE(space_->written(r.start, r.bytes(), w));
    return w;
  };
  for (uint64_t p = 0; p < 4; ++p) write64(page_of(r, p), p);
  (void)read64(page_of(r, 5));
  EXPECT_EQ(written(), (std::vector<uint8_t>{1, 1, 1, 1, 0, 0}));
  ASSERT_TRUE(space_->clear_written(r.start, r.bytes()));
  EXPECT_EQ(written(), (std::vector<uint8_t>{0, 0, 0, 0, 0, 0}));
  (void)read64(page_of(r, 1));
  write64(page_of(r, 2), 22);
  write64(page_of(r, 5), 55);
  EXPECT_EQ(written(), (std::vector<uint8_t>{0, 0, 1, 0, 0, 1}));
  for (uint64_t p : {0u, 1u, 3u}) EXPECT_EQ(read64(page_of(r, p)), p);
}

TEST_P(Notifier, no_store_escapes_between_clearing_and_looking) {
  const Range r = map(1);
  write64(r.start, 0);
  std::atomic<uint64_t> stored{0};
  std::jthread writer([&](const std::stop_token& stop) {
    for (uint64_t i = 1; !stop.stop_requested(); ++i) {
      write64(r.start, i);
      stored.store(i);
    }
  });
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(space_->clear_written(r.start, kPageSize));
    const uint64_t before = stored.load();
    std::this_thread::yield();
    const uint64_t after = stored.load();
    std::vector<uint8_t> w(1);
    ASSERT_TRUE(space_->written(r.start, kPageSize, w));
    // A store that began after the clearing; the one before may have been under way.
    if (after > before + 1) {
      ASSERT_EQ(w[0], 1);
    }
  }
}

// --- zero-copy ----------------------------------------------------------------------------------

TEST_P(Notifier, pages_of_the_caller_become_the_mappings) {
  const Range r = map(6);
  write64(page_of(r, 2), 7);
  std::vector<PageBuffer> pages;
  pages.reserve(3);
  for (uint64_t i = 0; i < 3; ++i) {
    pages.push_back(*engine_->alloc_page());
    std::ranges::fill(pages.back().bytes(), static_cast<std::byte>(i + 1));
  }
  const std::byte* const data = pages[1].bytes().data();
  ASSERT_TRUE(space_->insert_pages(page_of(r, 1), pages));
  for (const PageBuffer& p : pages) EXPECT_FALSE(p);
  EXPECT_EQ(read64(page_of(r, 2)), 0x0202020202020202u);
  EXPECT_EQ(space_->translate(page_of(r, 2), Access::read), data);
  write64(page_of(r, 2), 8);
  EXPECT_EQ(space_->translate(page_of(r, 2), Access::read), data);
  EXPECT_EQ(engine_->frames_used(), PageCount{3});
  EXPECT_EQ(space_->check(), "");
  ASSERT_TRUE(space_->advise(r.start, r.bytes(), Advice::dontneed));
  EXPECT_EQ(engine_->frames_used(), PageCount{0});
}

TEST_P(Notifier, an_insertion_takes_the_mmap_lock_for_the_first_page_of_a_vma_only) {
  const Range r = map(4);
  const auto insert = [&](uint64_t p) {
    PageBuffer page = *engine_->alloc_page();
    const uint64_t before = space_->lock_counters().read;
    EXPECT_TRUE(space_->insert_pages(page_of(r, p), {&page, 1}));
    return space_->lock_counters().read - before;
  };
  EXPECT_EQ(insert(0), 1u);
  EXPECT_EQ(insert(1), has_vma_locks() ? 0u : 1u);
}

TEST_P(Notifier, an_insertion_is_refused_where_it_makes_no_sense) {
  const Range r = map(2);
  const Range shared = map(2, kRw, kSharedAnon);
  std::vector<PageBuffer> pages(3);
  for (PageBuffer& p : pages) p = *engine_->alloc_page();
  const auto insert = [&](Address a, size_t n) {
    const Result<void> done = space_->insert_pages(a, std::span(pages).first(n));
    return done ? 0 : static_cast<int>(done.error());
  };
  EXPECT_EQ(insert(r.start + 1, 1), EINVAL);
  EXPECT_EQ(insert(page_of(r, 1), 3), EFAULT);
  EXPECT_EQ(insert(shared.start, 1), EFAULT);
  EXPECT_EQ(insert(Address{0x1000}, 1), EFAULT);
  const auto other = *Engine::create({.frames = {10}});
  PageBuffer foreign = *other->alloc_page();
  EXPECT_EQ(space_->insert_pages(r.start, {&foreign, 1}).error(), Error::inval);
  ASSERT_TRUE(space_->advise(page_of(r, 1), kPageSize, Advice::guard_install));
  EXPECT_EQ(insert(r.start, 2), EFAULT);
  EXPECT_FALSE(pages[0]);
  EXPECT_TRUE(pages[1]);
  EXPECT_EQ(insert(r.start, 1), EINVAL);  // an empty buffer
}

INSTANTIATE_TEST_SUITE_P(Designs, Notifier, ::testing::ValuesIn(kDesigns), test::design_of);

}  // namespace
}  // namespace pervma

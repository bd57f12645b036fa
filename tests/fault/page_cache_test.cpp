#include "fault/page_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "fault/page_caches.h"
#include "tests/fault/gate.h"
#include "tests/fault/support.h"

namespace pervma {
namespace {

using test::ends_when_stopped;
using test::Gate;
using test::object_byte;
using test::TestObject;

TEST(PageCache, reads_a_page_once_and_finds_it_afterwards) {
  const auto frames = FramePool::create({10});
  TestObject object(3 * kPageSize, VmaLockSafety::memory);
  PageCache cache(*frames, object);
  EXPECT_FALSE(cache.find(2));
  ASSERT_EQ(cache.fill(2), PageCache::End::found);
  const Frame frame = cache.find(2);
  EXPECT_EQ(frames->bytes(frame)[5], object_byte(2, 5));
  EXPECT_EQ(cache.fill(2), PageCache::End::found);
  EXPECT_EQ(cache.find(2), frame);
  EXPECT_EQ(object.reads(), 1u);
  EXPECT_FALSE(cache.find(1));
}

TEST(PageCache, knows_which_pages_begin_below_the_size) {
  const auto frames = FramePool::create({1});
  TestObject object(2 * kPageSize + 1, VmaLockSafety::memory);
  const PageCache cache(*frames, object);
  EXPECT_TRUE(cache.has_page(2));
  EXPECT_FALSE(cache.has_page(3));
  object.resize(~uint64_t{0});
  EXPECT_TRUE(cache.has_page(uint64_t{1} << 51));
  EXPECT_FALSE(cache.has_page(uint64_t{1} << 52));
}

TEST(PageCache, a_page_that_cannot_be_read_is_tried_again) {
  const auto frames = FramePool::create({1});
  TestObject object(kPageSize, VmaLockSafety::memory);
  PageCache cache(*frames, object);
  object.fail(true);
  EXPECT_EQ(cache.fill(0), PageCache::End::unreadable);
  EXPECT_EQ(frames->in_use(FrameUse::page), 0u);
  object.fail(false);
  EXPECT_EQ(cache.fill(0), PageCache::End::found);
}

TEST(PageCache, without_a_frame_nothing_is_read_and_nothing_kept) {
  const auto frames = FramePool::create({1});
  TestObject object(2 * kPageSize, VmaLockSafety::memory);
  PageCache cache(*frames, object);
  frames->fail_after(0);
  EXPECT_EQ(cache.fill(1), PageCache::End::out_of_memory);
  EXPECT_EQ(object.reads(), 0u);
  frames->fail_never();
  EXPECT_EQ(cache.fill(1), PageCache::End::found);
}

TEST(PageCache, holds_pages_far_apart) {
  const auto frames = FramePool::create({100});
  TestObject object(~uint64_t{0}, VmaLockSafety::memory);
  PageCache cache(*frames, object);
  std::vector<uint64_t> indexes;
  indexes.reserve(52);
  for (unsigned bit = 0; bit < 52; ++bit) indexes.push_back(uint64_t{1} << bit);
  std::shuffle(indexes.begin(), indexes.end(), std::mt19937(7));
  for (const uint64_t i : indexes) ASSERT_EQ(cache.fill(i), PageCache::End::found);
  for (const uint64_t i : indexes) {
    ASSERT_TRUE(cache.find(i));
    EXPECT_EQ(frames->bytes(cache.find(i))[9], object_byte(i, 9));
    EXPECT_FALSE(cache.find(i * 3 + (uint64_t{1} << 53)));
  }
}

TEST(PageCache, threads_that_want_one_page_wait_for_the_first_and_share_it) {
  constexpr int kThreads = 4;
  const auto frames = FramePool::create({64});
  TestObject object(~uint64_t{0}, VmaLockSafety::audited);
  std::atomic<int> arrived{0};
  // The reader of each page lets the others come and find it busy.
  object.before_read = [&](uint64_t) {
    while (arrived.load() < kThreads) std::this_thread::yield();
    for (int i = 0; i < 30; ++i) std::this_thread::yield();
  };
  PageCache cache(*frames, object);
  for (uint64_t index = 0; index < 20; ++index) {
    arrived.store(0);
    std::vector<Frame> got(kThreads);
    {
      std::vector<std::jthread> threads;
      threads.reserve(kThreads);
      for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
          arrived.fetch_add(1);
          ASSERT_EQ(cache.fill(index * 1000), PageCache::End::found);
          const Frame frame = cache.find(index * 1000);
          ASSERT_EQ(frames->bytes(frame)[1], object_byte(index * 1000, 1));
          got[static_cast<size_t>(t)] = frame;
        });
      }
    }
    for (const Frame f : got) EXPECT_EQ(f, got[0]);
    EXPECT_EQ(object.reads(), index + 1);
  }
}

TEST(PageCache, who_waits_for_anothers_read_can_be_stopped) {
  for (const bool truncated : {false, true}) {
    SCOPED_TRACE(truncated);
    const auto frames = FramePool::create({64});
    TestObject object(4 * kPageSize, VmaLockSafety::audited);
    Gate gate;
    object.before_read = [&](uint64_t) { gate.pass(); };
    PageCache cache(*frames, object);
    std::jthread reader([&] { EXPECT_EQ(cache.fill(1), PageCache::End::found); });
    gate.wait_for_one();
    if (truncated) {
      object.resize(kPageSize);
      cache.truncate();
    }
    PageCache::End end = PageCache::End::found;
    EXPECT_TRUE(
        ends_when_stopped(gate, [&](const std::stop_token& stop) { end = cache.fill(1, stop); }));
    EXPECT_EQ(end, PageCache::End::interrupted);
    reader.join();
    EXPECT_EQ(object.reads(), 1u);
    EXPECT_EQ(static_cast<bool>(cache.find(1)), !truncated);
  }
}

TEST(PageCache, a_page_beyond_the_new_end_goes_when_its_last_holder_does) {
  const auto frames = FramePool::create({20});
  TestObject object(10 * kPageSize, VmaLockSafety::memory);
  PageCache cache(*frames, object);
  for (uint64_t i = 0; i < 10; ++i) ASSERT_EQ(cache.fill(i), PageCache::End::found);
  const Frame held = cache.find_held(7);
  object.resize(4 * kPageSize + 100);
  cache.truncate();
  for (uint64_t i = 0; i < 10; ++i) EXPECT_EQ(static_cast<bool>(cache.find(i)), i < 5) << i;
  EXPECT_EQ(frames->in_use(FrameUse::page), 6u);
  // What is beyond the end inside the last page reads as zeros.
  EXPECT_EQ(frames->bytes(cache.find(4))[99], object_byte(4, 99));
  EXPECT_EQ(frames->bytes(cache.find(4))[100], std::byte{0});
  FrameGather gather;
  frames->drop(held, gather);
  frames->retire(gather);
  EXPECT_EQ(frames->in_use(FrameUse::page), 5u);
  object.resize(10 * kPageSize);
  EXPECT_EQ(cache.fill(7), PageCache::End::found);
  EXPECT_EQ(frames->bytes(cache.find(7))[1], object_byte(7, 1));
}

TEST(PageCaches, openings_of_one_object_share_pages_and_give_them_back_with_the_last) {
  const auto frames = FramePool::create({10});
  PageCaches caches(*frames);
  auto object = std::make_shared<TestObject>(kPageSize, VmaLockSafety::memory);
  {
    const FileRef first = *caches.open(object, FileMode::read_only);
    FileRef second = *caches.open(object, FileMode::read_write);
    EXPECT_NE(first.get(), second.get());
    EXPECT_EQ(&PageCache::of(*first.get()), &PageCache::of(*second.get()));
    EXPECT_EQ(caches.live(), 1u);
    (void)PageCache::of(*first.get()).fill(0);
    const FileRef third = second;
    second = FileRef{};
    EXPECT_EQ(frames->in_use(FrameUse::page), 1u);
  }
  EXPECT_EQ(caches.live(), 0u);
  EXPECT_EQ(frames->in_use(FrameUse::page), 0u);
  const FileRef again = *caches.open(object, FileMode::read_only);
  EXPECT_FALSE(PageCache::of(*again.get()).find(0));
}

TEST(PageCaches, shared_memory_is_named_as_linux_names_it_and_each_is_its_own) {
  const auto frames = FramePool::create({10});
  PageCaches caches(*frames);
  const FileRef a = *caches.create_shared_memory(kPageSize);
  const FileRef b = *caches.create_shared_memory(kPageSize);
  const FileIdentity& identity = a.get()->object().identity();
  EXPECT_EQ(identity.name, "/dev/zero (deleted)");
  EXPECT_EQ(identity.device_major, 0u);
  EXPECT_EQ(identity.device_minor, 1u);
  EXPECT_NE(identity.inode, b.get()->object().identity().inode);
  EXPECT_NE(&PageCache::of(*a.get()), &PageCache::of(*b.get()));
  EXPECT_EQ(a.get()->object().vma_lock_safety(), VmaLockSafety::memory);
}

TEST(PageCaches, opens_and_closes_of_one_object_by_many_threads_end_with_nothing_left) {
  const auto frames = FramePool::create({64});
  PageCaches caches(*frames);
  auto object = std::make_shared<TestObject>(kPageSize, VmaLockSafety::memory);
  {
    std::vector<std::jthread> threads;
    threads.reserve(4);
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 300; ++i) {
          const FileRef file = *caches.open(object, FileMode::read_only);
          PageCache& cache = PageCache::of(*file.get());
          ASSERT_EQ(cache.fill(0), PageCache::End::found);
          ASSERT_EQ(frames->bytes(cache.find(0))[3], object_byte(0, 3));
        }
      });
    }
  }
  EXPECT_EQ(caches.live(), 0u);
  EXPECT_EQ(frames->in_use(FrameUse::page), 0u);
}

}  // namespace
}  // namespace pervma

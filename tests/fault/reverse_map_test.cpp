// From frames to the entries that have them: check() compares both directions, so most tests here
// only bring pages into every kind of place and let it look.
#include <atomic>
#include <random>
#include <thread>

#include "tests/fault/space_fixture.h"

namespace pervma {
namespace {

using namespace test;  // NOLINT: the suite speaks its language

class ReverseMap : public SpaceFixture {
 protected:
  Address move(Range from, Address to, RemapFlags more = RemapFlags::none) {
    const Result<Address> moved =
        space_->remap({.old_address = from.start,
                       .old_length = from.bytes(),
                       .new_length = from.bytes(),
                       .flags = RemapFlags::maymove | RemapFlags::fixed | more,
                       .new_address = to});
    EXPECT_TRUE(moved);
    return moved ? *moved : Address{0};
  }
};

TEST_P(ReverseMap, pages_lead_back_after_cuts_merges_and_moves) {
  const Range r = map(12);
  for (uint64_t p = 0; p < 12; ++p) write64(page_of(r, p), p);
  ASSERT_TRUE(space_->protect(page_of(r, 4), 4 * kPageSize, Prot::read));
  EXPECT_EQ(space_->check(), "");
  ASSERT_TRUE(space_->protect(page_of(r, 4), 4 * kPageSize, kRw));
  EXPECT_EQ(space_->check(), "");
  ASSERT_TRUE(space_->unmap(page_of(r, 2), kPageSize));
  const Range far = map(64, Prot::none);
  move({page_of(r, 6), page_of(r, 9)}, page_of(far, 7));
  EXPECT_EQ(space_->check(), "");
  move({page_of(r, 9), page_of(r, 11)}, page_of(far, 30), RemapFlags::dontunmap);
  write64(page_of(r, 9), 90);
  EXPECT_EQ(space_->check(), "");
  EXPECT_EQ(read64(page_of(far, 8)), 7u);
  EXPECT_EQ(read64(page_of(far, 31)), 10u);
}

// R25: the neighbour gets the identity of the pages that come to it.
TEST_P(ReverseMap, r25_a_touched_range_that_moves_beside_an_untouched_one_brings_its_identity) {
  const Address base{0x4000'0000};
  Range r = map_at(base, 4);
  for (uint64_t p = 0; p < 4; ++p) write64(page_of(r, p), p + 1);
  const Address far = base + 100 * kPageSize;
  move({page_of(r, 2), r.end}, far);  // its offsets belong where it was
  r = map_at(base, 2);
  move({far, far + 2 * kPageSize}, page_of(r, 2));
  EXPECT_EQ(space_->map_count(), 1u);
  EXPECT_NE(space_->find_vma(base)->anon_vma, 0u);
  EXPECT_EQ(read64(base + 3 * kPageSize), 4u);
  write64(base, 8);
  EXPECT_EQ(space_->check(), "");
}

TEST_P(ReverseMap, a_familys_pages_lead_to_all_its_members) {
  const Range r = map(6);
  for (uint64_t p = 0; p < 6; ++p) write64(page_of(r, p), p);
  std::vector<std::unique_ptr<AddressSpace>> line;
  line.reserve(4);
  for (int generation = 0; generation < 4; ++generation) {
    AddressSpace& parent = line.empty() ? *space_ : *line.back();
    line.push_back(*engine_->fork(parent));
    write64(*line.back(), page_of(r, 1), 100u + static_cast<uint64_t>(generation));
    EXPECT_EQ(line.back()->check(), "");
  }
  line.erase(line.begin() + 1);
  EXPECT_EQ(space_->check(), "");
  space_.reset();  // The root's own VMAs are gone; its family goes on.
  for (const auto& s : line) EXPECT_EQ(s->check(), "");
  space_ = new_space();
}

// Threads fault, cut, merge and move next to each other; check() goes through all of it beside
// them.
TEST_P(ReverseMap, pages_lead_back_beside_changes) {
  const Range all = map(96);
  std::vector<std::jthread> threads;
  threads.reserve(3);
  for (unsigned t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      const Range mine{page_of(all, t * 32), page_of(all, t * 32 + 32)};
      for (int i = 0; i < 400; ++i) {
        const Address a = page_of(mine, random() % 28);
        uint64_t value = 0;
        switch (random() % 5) {
          case 0: (void)space_->protect(a, 4 * kPageSize, Prot::read); break;
          case 1: (void)space_->protect(a, 4 * kPageSize, kRw); break;
          case 2: move({a, a + kPageSize}, page_of(mine, 28 + random() % 4)); break;
          default:
            (void)space_->map({.address = a,
                               .length = kPageSize,
                               .prot = kRw,
                               .flags = kAnon | MapFlags::fixed_noreplace});
            (void)space_->store(a, bytes_of(value));
        }
        (void)space_->map({.address = a,
                           .length = kPageSize,
                           .prot = kRw,
                           .flags = kAnon | MapFlags::fixed_noreplace});
      }
    });
  }
  for (int i = 0; i < 50; ++i) ASSERT_EQ(space_->check(), "");
}

// --- truncation ---------------------------------------------------------------------------------

TEST_P(ReverseMap, beyond_the_new_end_every_mapping_is_a_bus_error_and_private_copies_are_gone) {
  auto object = std::make_shared<TestObject>(8 * kPageSize, VmaLockSafety::memory);
  file_ = *engine_->open(object, FileMode::read_write);
  const Range shared = map_file(file_, 8, MapFlags::shared);
  const Range copied = map_file(file_, 6, MapFlags::private_, kRw, 2);
  for (uint64_t p = 0; p < 8; ++p) write64(page_of(shared, p), p + 1);
  write64(page_of(copied, 3), 77);  // page 5 of the object
  const auto child = *engine_->fork(*space_);
  EXPECT_EQ(read64(*child, page_of(shared, 6)), 7u);
  object->resize(4 * kPageSize + 8);
  engine_->truncate(file_);
  uint64_t value = 0;
  for (AddressSpace* s : {space_.get(), child.get()}) {
    for (uint64_t p = 0; p < 8; ++p) {
      EXPECT_EQ(load(*s, page_of(shared, p), value),
                p < 5 ? FaultOutcome::resolved : FaultOutcome::bus_error)
          << p;
    }
    EXPECT_EQ(load(*s, page_of(copied, 2), value), FaultOutcome::resolved);
    EXPECT_EQ(load(*s, page_of(copied, 3), value), FaultOutcome::bus_error);
    EXPECT_EQ(s->check(), "");
  }
  EXPECT_EQ(engine_->frames_used(), PageCount{5});
  // When the object grows again, its pages are what it says, not what was there.
  object->resize(8 * kPageSize);
  EXPECT_EQ(load(*space_, page_of(shared, 6), value), FaultOutcome::resolved);
  EXPECT_EQ(static_cast<std::byte>(value), object_byte(6, 0));
}

// The fault has looked at the size already.
TEST_P(ReverseMap, a_page_that_is_read_in_beside_a_truncation_is_not_mapped) {
  for (const MapFlags type : {MapFlags::shared, MapFlags::private_}) {
    auto object = std::make_shared<TestObject>(64 * kPageSize, VmaLockSafety::memory);
    file_ = *engine_->open(object, FileMode::read_write);
    const Range r = map_file(file_, 64, type);
    object->before_read = [&](uint64_t index) {
      if (index != 20) return;
      object->resize(8 * kPageSize);
      engine_->truncate(file_);
    };
    EXPECT_EQ(fault(page_of(r, 20), Access::write), FaultOutcome::bus_error);
    EXPECT_EQ(engine_->frames_used(), PageCount{0});
    ASSERT_TRUE(space_->unmap(r.start, r.bytes()));
  }
}

// The size changes, then truncate() is called: whoever maps a page meanwhile undoes it or is
// undone.
TEST_P(ReverseMap, no_page_stays_mapped_beside_a_truncation) {
  auto object = std::make_shared<TestObject>(64 * kPageSize, VmaLockSafety::memory);
  file_ = *engine_->open(object, FileMode::read_write);
  const Range shared = map_file(file_, 64, MapFlags::shared);
  const Range copied = map_file(file_, 64, MapFlags::private_);
  std::vector<std::jthread> threads;
  threads.reserve(2);
  for (unsigned t = 0; t < 2; ++t) {
    threads.emplace_back([&, t](const std::stop_token& stop) {
      std::mt19937 random(t);
      uint64_t value = 5;
      while (!stop.stop_requested()) {
        const uint64_t p = random() % 64;
        (void)space_->load(page_of(shared, p), writable_bytes_of(value));
        (void)space_->store(page_of(copied, p), bytes_of(value));
      }
    });
  }
  for (int round = 0; round < 200; ++round) {
    object->resize(8 * kPageSize);
    engine_->truncate(file_);
    uint64_t value = 0;
    for (uint64_t p = 8; p < 64; p += 5) {
      ASSERT_EQ(load(*space_, page_of(shared, p), value), FaultOutcome::bus_error);
      ASSERT_EQ(load(*space_, page_of(copied, p), value), FaultOutcome::bus_error);
    }
    object->resize(64 * kPageSize);
    std::this_thread::yield();
  }
}

// --- msync --------------------------------------------------------------------------------------

TEST_P(ReverseMap, sync_gives_the_object_what_was_written_and_nothing_else) {
  auto object = std::make_shared<TestObject>(8 * kPageSize, VmaLockSafety::audited);
  file_ = *engine_->open(object, FileMode::read_write);
  const Range shared = map_file(file_, 8, MapFlags::shared);
  const Range copied = map_file(file_, 8, MapFlags::private_);
  for (uint64_t p = 0; p < 8; ++p) (void)read64(page_of(shared, p));
  write64(page_of(shared, 2), 22);
  write64(page_of(shared, 5), 55);
  write64(page_of(copied, 3), 33);
  const auto sync = [&](SyncFlags flags) {
    return space_->sync(shared.start, shared.bytes(), flags);
  };
  ASSERT_TRUE(sync(SyncFlags::async));
  EXPECT_EQ(object->writes(), 0u);
  ASSERT_TRUE(sync(SyncFlags::sync));
  ASSERT_EQ(object->writes(), 2u);
  EXPECT_EQ(object->written().at(2)[0], std::byte{22});
  EXPECT_EQ(object->written().at(5)[0], std::byte{55});
  ASSERT_TRUE(sync(SyncFlags::sync));
  EXPECT_EQ(object->writes(), 2u);
  // The next store is known of, in whatever mapping.
  const Range other = map_file(file_, 8, MapFlags::shared);
  write64(page_of(shared, 2), 23);
  write64(page_of(other, 7), 77);
  ASSERT_TRUE(sync(SyncFlags::sync));
  EXPECT_EQ(object->writes(), 4u);
  EXPECT_EQ(object->written().at(2)[0], std::byte{23});
}

TEST_P(ReverseMap, what_the_object_could_not_keep_is_given_again) {
  auto object = std::make_shared<TestObject>(2 * kPageSize, VmaLockSafety::memory);
  file_ = *engine_->open(object, FileMode::read_write);
  const Range r = map_file(file_, 2, MapFlags::shared);
  write64(r.start, 1);
  object->fail(true);
  EXPECT_EQ(space_->sync(r.start, r.bytes(), SyncFlags::sync).error(), Error::io);
  object->fail(false);
  EXPECT_TRUE(space_->sync(r.start, r.bytes(), SyncFlags::sync));
  EXPECT_EQ(object->writes(), 1u);
}

TEST_P(ReverseMap, no_store_is_lost_between_syncs) {
  auto object = std::make_shared<TestObject>(kPageSize, VmaLockSafety::memory);
  file_ = *engine_->open(object, FileMode::read_write);
  const Range r = map_file(file_, 1, MapFlags::shared);
  std::atomic<uint64_t> stored{0};
  std::jthread writer([&](const std::stop_token& stop) {
    for (uint64_t i = 1; !stop.stop_requested(); ++i) {
      (void)space_->store(r.start, bytes_of(i));
      stored.store(i);
    }
  });
  while (stored.load() == 0) std::this_thread::yield();
  for (int round = 0; round < 300; ++round) {
    const uint64_t before = stored.load();
    ASSERT_TRUE(space_->sync(r.start, r.bytes(), SyncFlags::sync));
    uint64_t kept = 0;
    std::memcpy(&kept, object->written().at(0).data(), sizeof kept);
    ASSERT_GE(kept, before);
  }
  writer.request_stop();
  writer.join();
  ASSERT_TRUE(space_->sync(r.start, r.bytes(), SyncFlags::sync));
  uint64_t kept = 0;
  std::memcpy(&kept, object->written().at(0).data(), sizeof kept);
  EXPECT_EQ(kept, stored.load());
}

// --- fault-around -------------------------------------------------------------------------------

TEST_P(ReverseMap, a_read_fault_maps_what_is_cached_around_it) {
  auto object = std::make_shared<TestObject>(40 * kPageSize, VmaLockSafety::audited);
  file_ = *engine_->open(object, FileMode::read_write);
  PageCache& cache = PageCache::of(*file_.get());
  for (uint64_t p = 0; p < 40; p += 2) ASSERT_EQ(cache.fill(p), PageCache::End::found);
  const Range r = map_file(file_, 40, MapFlags::private_);
  const Address aligned{(page_of(r, 12).value + 0xffff) & ~uint64_t{0xffff}};
  const uint64_t first = (aligned - r.start) >> kPageShift;
  ASSERT_EQ(fault(page_of(r, first + (first & 1)), Access::read), FaultOutcome::resolved);
  const PageUse use = space_->statistics().pages;
  EXPECT_EQ(use.file, std::min<uint64_t>(16, 40 - first) / 2);
  EXPECT_EQ(object->reads(), 20u);
  EXPECT_EQ(space_->check(), "");
  // A page that came so is written like any other.
  write64(page_of(r, first + (first & 1) + 2), 9);
  EXPECT_EQ(read64(page_of(r, first + (first & 1) + 2)), 9u);
}

TEST_P(ReverseMap, an_unaudited_object_is_asked_for_one_page_at_a_time) {
  auto object = std::make_shared<TestObject>(16 * kPageSize, VmaLockSafety::unaudited);
  file_ = *engine_->open(object, FileMode::read_write);
  for (uint64_t p = 0; p < 16; ++p) (void)PageCache::of(*file_.get()).fill(p);
  const Range r = map_file(file_, 16, MapFlags::shared);
  ASSERT_EQ(fault(page_of(r, 3), Access::read), FaultOutcome::resolved);
  EXPECT_EQ(space_->statistics().pages.file, 1u);
}

INSTANTIATE_TEST_SUITE_P(Designs, ReverseMap, ::testing::ValuesIn(kDesigns), test::design_of);

}  // namespace
}  // namespace pervma

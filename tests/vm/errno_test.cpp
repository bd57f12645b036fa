// What each call refuses and with which errno, where mappings are placed, limits, the heap, stacks,
// and the text of maps.
#include <cstdio>
#include <fstream>
#include <limits>

#include "vm/maps_text.h"
#include "vm/support.h"

namespace pervma::test {
namespace {

constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();

template <class L>
class Errno : public SpaceTest<L> {
 protected:
  int map_error(const MapRequest& r) { return this->error_of(this->space().map(r, {})); }
  static MapRequest request(uint64_t page, uint64_t pages) {
    return {.address = page_at(page),
            .length = bytes_of_pages(pages),
            .prot = Prot::read,
            .flags = MapFlags::private_ | MapFlags::anonymous | MapFlags::fixed};
  }
  int64_t placed(uint64_t pages, uint64_t hint = 0,
                 MapFlags flags = MapFlags::private_ | MapFlags::anonymous) {
    return this->place_of(this->space().map({.address = Address{hint},
                                             .length = bytes_of_pages(pages),
                                             .prot = Prot::read,
                                             .flags = flags},
                                            {}));
  }
};
TYPED_TEST_SUITE(Errno, EveryDesign);

TYPED_TEST(Errno, map_refuses_what_linux_refuses) {
  MapRequest r = this->request(0, 1);
  r.length = 0;
  EXPECT_EQ(this->map_error(r), EINVAL);
  r.length = kHuge;
  EXPECT_EQ(this->map_error(r), ENOMEM);
  r = this->request(0, 65537);
  EXPECT_EQ(this->map_error(r), ENOMEM);
  r = this->request(0, 1);
  r.address = r.address + 1;
  EXPECT_EQ(this->map_error(r), EINVAL);
  r = this->request(0, 1);
  r.address = kBase - kPageSize;
  EXPECT_EQ(this->map_error(r), EPERM);
  r = this->request(0, 1);
  r.offset = 1;
  EXPECT_EQ(this->map_error(r), EINVAL);
  r = this->request(0, 1);
  r.flags = MapFlags::private_ | MapFlags::fixed;
  EXPECT_EQ(this->map_error(r), EBADF);
  r.flags = MapFlags::anonymous | MapFlags::fixed;
  EXPECT_EQ(this->map_error(r), EINVAL);
  r.flags = MapFlags::anonymous | MapFlags::shared_validate;
  EXPECT_EQ(this->map_error(r), EINVAL);
  r.flags = MapFlags::anonymous | MapFlags::shared | MapFlags::growsdown;
  EXPECT_EQ(this->map_error(r), EINVAL);
  r.flags = MapFlags::anonymous | MapFlags::droppable | MapFlags::locked;
  EXPECT_EQ(this->map_error(r), EINVAL);

  r = this->request(0, 1);
  r.flags = MapFlags::shared | MapFlags::fixed;
  r.file = open_named("f", FileMode::read_only);
  EXPECT_EQ(this->map_error(r), 0);
  EXPECT_EQ(this->protect(0, 1, this->kRw), EACCES);
  r.prot = this->kRw;
  EXPECT_EQ(this->map_error(r), EACCES);
  r.offset = uint64_t{0x7ffffffffffff000};
  EXPECT_EQ(this->map_error(r), EOVERFLOW);
  r.offset = 0;
  r.flags = MapFlags::shared_validate | MapFlags::sync;
  EXPECT_EQ(this->map_error(r), EOPNOTSUPP);
}

TYPED_TEST(Errno, fixed_noreplace_replaces_nothing) {
  this->build("..AA..");
  MapRequest r = this->request(3, 2);
  r.flags = MapFlags::private_ | MapFlags::anonymous | MapFlags::fixed_noreplace;
  EXPECT_EQ(this->map_error(r), EEXIST);
  r.address = page_at(4);
  EXPECT_EQ(this->map_error(r), 0);
  EXPECT_EQ(this->draw(), "..AARR");
}

TYPED_TEST(Errno, unmap_refuses_what_is_not_a_range) {
  auto& s = this->space();
  EXPECT_EQ(this->error_of(s.unmap(page_at(0) + 1, 1, {})), EINVAL);
  EXPECT_EQ(this->unmap(0, 0), EINVAL);
  EXPECT_EQ(this->unmap(0, 65537), EINVAL);
  EXPECT_EQ(this->error_of(s.unmap(page_at(1), kHuge, {})), EINVAL);
  EXPECT_EQ(this->unmap(0, 65536), 0);
}

TYPED_TEST(Errno, protect_stops_at_the_first_hole) {
  this->build("AA..AA");
  auto& s = this->space();
  EXPECT_EQ(this->error_of(s.protect(page_at(0) + 1, 1, Prot::read, {})), EINVAL);
  EXPECT_EQ(this->protect(50, 0, Prot::read), 0);
  EXPECT_EQ(this->error_of(s.protect(page_at(0), kHuge, Prot::read, {})), ENOMEM);
  EXPECT_EQ(this->protect(2, 4, Prot::read), ENOMEM);
  EXPECT_EQ(this->draw(), "AA..AA");
  EXPECT_EQ(this->protect(1, 5, Prot::read), ENOMEM);
  EXPECT_EQ(this->draw(), "AR..AA");
  EXPECT_EQ(this->protect(0, 1, static_cast<Prot>(0x1000)), EINVAL);
  EXPECT_EQ(this->protect(0, 1, Prot::growsdown), EINVAL);
  EXPECT_EQ(this->protect(0, 1, Prot::growsup), EINVAL);
  EXPECT_EQ(this->protect(0, 1, Prot::growsup | Prot::growsdown), EINVAL);
}

TYPED_TEST(Errno, protect_of_a_growing_mapping_reaches_down_to_its_start) {
  this->build("GGGG");
  EXPECT_EQ(this->protect(2, 1, this->kRw | Prot::growsdown), 0);
  EXPECT_EQ(this->protect(2, 2, Prot::read | Prot::growsdown), 0);
  EXPECT_EQ(this->space().vmas().size(), 1u);
}

TYPED_TEST(Errno, advice_goes_on_over_holes) {
  this->build("AA..AA");
  EXPECT_EQ(this->advise(1, 4, Advice::dontfork), ENOMEM);
  EXPECT_EQ(this->draw(), "A|A..A|A");
  EXPECT_EQ(this->advise(0, 1, static_cast<Advice>(999)), EINVAL);
  EXPECT_EQ(this->error_of(this->space().advise(page_at(0) + 1, 1, Advice::dontneed, {})), EINVAL);
  EXPECT_EQ(this->error_of(this->space().advise(page_at(0), kHuge, Advice::dontneed, {})), EINVAL);
  EXPECT_EQ(this->advise(50, 0, Advice::dontneed), 0);
  EXPECT_EQ(this->advise(50, 1, Advice::dontneed), ENOMEM);
}

TYPED_TEST(Errno, advice_is_refused_by_kind_of_memory) {
  struct Case {
    const char* map;
    Advice advice;
    int error;
  };
  constexpr Case kCases[] = {
      {"l", Advice::dontneed, EINVAL},
      {"l", Advice::dontneed_locked, 0},
      {"l", Advice::free, EINVAL},
      {"l", Advice::cold, EINVAL},
      {"l", Advice::pageout, EINVAL},
      {"l", Advice::guard_install, EINVAL},
      {"l", Advice::guard_remove, 0},
      {"S", Advice::free, EINVAL},
      {"S", Advice::wipeonfork, EINVAL},
      {"S", Advice::remove, 0},
      {"F", Advice::free, EINVAL},
      {"F", Advice::wipeonfork, EINVAL},
      {"F", Advice::remove, EACCES},
      {"A", Advice::remove, EINVAL},
      {"A", Advice::free, 0},
      {"A", Advice::willneed, 0},
      {"A", Advice::cold, 0},
      {"A", Advice::collapse, EINVAL},
      {"A", Advice::hwpoison, EPERM},
      {"N", Advice::populate_read, EINVAL},
      {"R", Advice::populate_write, EINVAL},
      {"A", Advice::populate_write, 0},
      {"Z", Advice::dontneed, 0},
      {"Z", Advice::wipeonfork, 0},
  };
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.map + std::to_string(static_cast<int>(c.advice)));
    this->remake(small_space(design_of<TypeParam>()));
    this->build(c.map);
    EXPECT_EQ(this->advise(0, 1, c.advice), c.error);
  }
}

TYPED_TEST(Errno, what_is_sealed_stays) {
  this->build("AZZA");
  EXPECT_EQ(this->unmap(1, 1), EPERM);
  EXPECT_EQ(this->protect(0, 4, Prot::read), EPERM);
  EXPECT_EQ(this->draw(), "RZZA");  // the part before it has changed
  EXPECT_EQ(this->move(1, 2, 2, 8), -EPERM);
  EXPECT_EQ(this->resize(1, 2, 1), -EPERM);
  EXPECT_EQ(this->map_error(this->request(0, 2)), EPERM);
  EXPECT_EQ(this->map_error(this->request(0, 65536)), EPERM);
  EXPECT_EQ(this->error_of(this->space().seal(page_at(0), bytes_of_pages(9), {})), ENOMEM);
  EXPECT_EQ(this->draw(), "RZZA");
  ASSERT_EQ(this->protect(3, 1, Prot::read), 0);
  ASSERT_TRUE(this->space().seal(page_at(3), bytes_of_pages(1), {}));
  EXPECT_EQ(this->advise(3, 1, Advice::dontneed), EPERM);  // could not be written either
}

TYPED_TEST(Errno, remap_refuses_what_linux_refuses) {
  this->build("AARR");
  EXPECT_EQ(this->resize(0, 2, 0), -EINVAL);
  EXPECT_EQ(this->resize(0, 2, 2, static_cast<RemapFlags>(8)), -EINVAL);
  EXPECT_EQ(this->resize(0, 2, 4, RemapFlags::dontunmap | RemapFlags::maymove), -EINVAL);
  EXPECT_EQ(this->resize(0, 2, 2, RemapFlags::dontunmap), -EINVAL);
  EXPECT_EQ(this->resize(0, 2, 2, RemapFlags::fixed), -EINVAL);
  EXPECT_EQ(this->move(0, 2, 2, 1), -EINVAL);
  EXPECT_EQ(this->move(0, 3, 4, 8), -EFAULT);
  EXPECT_EQ(this->resize(1, 2, 4, RemapFlags::maymove), -EFAULT);
  EXPECT_EQ(this->resize(9, 1, 2, RemapFlags::maymove), -EFAULT);
  EXPECT_EQ(this->resize(0, 65537, 1), -EINVAL);
  auto& s = this->space();
  EXPECT_EQ(this->error_of(s.remap(
                {.old_address = page_at(0), .old_length = kHuge, .new_length = kPageSize}, {})),
            EINVAL);
  EXPECT_EQ(this->draw(), "AARR");
}

TYPED_TEST(Errno, places_are_found_top_down_in_the_highest_gap) {
  EXPECT_EQ(this->placed(4), 65532);
  EXPECT_EQ(this->placed(4), 65528);
  EXPECT_EQ(this->unmap(65530, 2), 0);
  EXPECT_EQ(this->placed(2), 65530);
  EXPECT_EQ(this->placed(2, page_at(100).value), 100);
  EXPECT_EQ(this->placed(2, page_at(101).value + 5), 65526);  // taken
  EXPECT_EQ(this->placed(512, 0), 64512);                     // 2 MiB: aligned
  EXPECT_EQ(this->placed(512, 0, MapFlags::shared | MapFlags::anonymous), 64000);
  EXPECT_EQ(this->placed(65536), -ENOMEM);
}

TYPED_TEST(Errno, a_gap_is_kept_below_a_growing_mapping) {
  ASSERT_TRUE(this->map(65000, 4, this->kRw, MapFlags::growsdown));
  ASSERT_TRUE(this->map(65004, 532, Prot::none));
  EXPECT_EQ(this->placed(4), 65000 - 256 - 4);
  EXPECT_EQ(this->placed(4, page_at(64900).value), 65000 - 256 - 8);
}

TYPED_TEST(Errno, a_stack_grows_to_its_limit_and_keeps_its_distance) {
  SpaceOptions options = small_space(design_of<TypeParam>());
  options.stack_limit = bytes_of_pages(600);
  this->remake(options);
  ASSERT_TRUE(this->map(2000, 4, this->kRw, MapFlags::growsdown));
  auto& s = this->space();
  EXPECT_TRUE(s.grow_stack_to(page_at(1900)));
  EXPECT_EQ(s.find_vma(page_at(1900))->range.start, page_at(1900));
  EXPECT_EQ(s.find_vma(page_at(1900))->page_offset, page_at(1900).page());
  EXPECT_NE(s.find_vma(page_at(1900))->anon_vma, 0u);
  EXPECT_FALSE(s.grow_stack_to(page_at(1403)));  // 601 pages
  ASSERT_TRUE(this->map(1500, 10, this->kRw));
  EXPECT_FALSE(s.grow_stack_to(page_at(1765)));  // 255 pages of distance
  EXPECT_TRUE(s.grow_stack_to(page_at(1766)));
  ASSERT_EQ(this->protect(1500, 10, Prot::none), 0);
  EXPECT_TRUE(s.grow_stack_to(page_at(1600)));  // nothing to run into
  EXPECT_FALSE(s.grow_stack_to(page_at(5000)));
  EXPECT_EQ(s.check(), "");
}

TYPED_TEST(Errno, the_heap_grows_shrinks_and_keeps_a_page_of_distance) {
  auto& s = this->space();
  s.set_brk_start(page_at(10));
  EXPECT_EQ(s.brk({}, {}), page_at(10));
  EXPECT_EQ(s.brk(page_at(12), {}), page_at(12));
  EXPECT_EQ(s.find_vma(page_at(11))->name, "[heap]");
  EXPECT_EQ(s.brk(page_at(11) + 7, {}), page_at(11) + 7);
  EXPECT_EQ(this->draw(), "..........AA");
  EXPECT_EQ(s.brk(page_at(11), {}), page_at(11));
  EXPECT_EQ(this->draw(), "..........A");
  ASSERT_TRUE(this->map(20, 1, this->kRw));
  EXPECT_EQ(s.brk(page_at(20), {}), page_at(11));
  EXPECT_EQ(s.brk(page_at(19), {}), page_at(19));
  EXPECT_EQ(s.brk(page_at(9), {}), page_at(19));
  EXPECT_EQ(s.brk(page_at(10), {}), page_at(10));
  ASSERT_TRUE(this->map(8, 2, this->kRw));
  EXPECT_EQ(s.brk(page_at(12), {}), page_at(12));  // joins the heap only
  EXPECT_EQ(this->draw(), "........AA|AA........A");
}

TYPED_TEST(Errno, the_number_of_vmas_is_limited) {
  SpaceOptions options = small_space(design_of<TypeParam>());
  options.max_map_count = 4;
  this->remake(options);
  for (uint64_t i = 0; i < 5; ++i) ASSERT_TRUE(this->map(i * 4, 3, this->kRw)) << i;
  EXPECT_EQ(this->error_of(this->map(100, 1, this->kRw)), ENOMEM);
  EXPECT_EQ(this->protect(1, 1, Prot::read), ENOMEM);
  EXPECT_EQ(this->advise(1, 1, Advice::dontfork), EAGAIN);
  EXPECT_EQ(this->unmap(1, 1), ENOMEM);
  EXPECT_EQ(this->unmap(0, 1), 0);
  EXPECT_EQ(this->draw(), ".AA.AAA.AAA.AAA.AAA");
  ASSERT_EQ(this->unmap(1, 7), 0);
  EXPECT_EQ(this->protect(9, 1, Prot::read), ENOMEM);  // the first cut stays
  EXPECT_EQ(this->draw(), "........A|AA.AAA.AAA");
}

TYPED_TEST(Errno, address_space_and_locked_memory_are_limited) {
  SpaceOptions options = small_space(design_of<TypeParam>());
  options.address_space_limit = bytes_of_pages(10);
  options.memlock_limit = bytes_of_pages(6);
  this->remake(options);
  auto& s = this->space();
  const auto lock = [&](uint64_t page, uint64_t pages) {
    return this->error_of(s.lock(page_at(page), bytes_of_pages(pages), LockFlags::none, {}));
  };
  ASSERT_TRUE(this->map(0, 8, this->kRw));
  EXPECT_EQ(this->error_of(this->map(20, 3, this->kRw)), ENOMEM);
  EXPECT_EQ(this->resize(0, 8, 11), -ENOMEM);
  EXPECT_EQ(lock(0, 4), 0);
  EXPECT_EQ(lock(2, 4), 0);  // two pages more
  EXPECT_EQ(s.locked_pages(), PageCount{6});
  EXPECT_EQ(lock(4, 4), ENOMEM);
  EXPECT_EQ(lock(0, 6), 0);
  EXPECT_EQ(this->error_of(this->map(20, 1, this->kRw, MapFlags::locked)), EAGAIN);
  EXPECT_EQ(this->resize(0, 6, 7), -EAGAIN);
  ASSERT_TRUE(s.unlock(page_at(0), bytes_of_pages(8), {}));
  EXPECT_EQ(s.locked_pages(), PageCount{0});
  EXPECT_EQ(this->draw(), "aaaaaaaa");
  EXPECT_EQ(lock(8, 1), ENOMEM);
  EXPECT_EQ(this->error_of(s.lock(page_at(0), kHuge, LockFlags::none, {})), 0);
  EXPECT_EQ(this->error_of(s.lock(page_at(0), kHuge - kPageMask, LockFlags::none, {})), ENOMEM);
  EXPECT_EQ(this->error_of(s.lock(page_at(0), 1, static_cast<LockFlags>(2), {})), EINVAL);
  EXPECT_EQ(this->error_of(s.lock_all(LockAllFlags::onfault, {})), EINVAL);
  EXPECT_EQ(this->error_of(s.lock_all(LockAllFlags::current, {})), ENOMEM);
}

TYPED_TEST(Errno, locking_everything_marks_what_comes_too) {
  this->build("AA");
  auto& s = this->space();
  ASSERT_TRUE(s.lock_all(LockAllFlags::future, {}));
  ASSERT_TRUE(this->map(4, 2, this->kRw));
  EXPECT_EQ(this->draw(), "AA..ll");
  ASSERT_TRUE(s.lock_all(LockAllFlags::current | LockAllFlags::onfault, {}));
  EXPECT_EQ(this->draw(), "LL..ll");
  ASSERT_TRUE(this->map(8, 2, this->kRw));
  EXPECT_EQ(this->draw(), "LL..ll..AA");
  ASSERT_TRUE(s.unlock_all({}));
  EXPECT_EQ(this->draw(), "AA..aa..AA");
  EXPECT_EQ(s.locked_pages(), PageCount{0});
}

TYPED_TEST(Errno, residency_and_sync_look_and_change_nothing) {
  this->build("AA.A");
  ASSERT_TRUE(this->write(1));
  auto& s = this->space();
  std::array<uint8_t, 4> bits{9, 9, 9, 9};
  EXPECT_EQ(this->error_of(s.residency(page_at(0), bytes_of_pages(4), bits, {})), ENOMEM);
  EXPECT_EQ(bits, (std::array<uint8_t, 4>{0, 1, 9, 9}));
  EXPECT_EQ(this->error_of(s.residency(page_at(0) + 1, 1, bits, {})), EINVAL);
  const auto sync = [&](uint64_t page, uint64_t pages, SyncFlags flags) {
    return this->error_of(s.sync(page_at(page), bytes_of_pages(pages), flags, {}));
  };
  EXPECT_EQ(sync(0, 2, SyncFlags::sync), 0);
  EXPECT_EQ(sync(0, 2, SyncFlags::sync | SyncFlags::async), EINVAL);
  EXPECT_EQ(sync(0, 4, SyncFlags::sync), ENOMEM);
  EXPECT_EQ(sync(2, 1, SyncFlags::async), ENOMEM);
  ASSERT_TRUE(s.lock(page_at(0), 1, LockFlags::none, {}));
  EXPECT_EQ(sync(0, 1, SyncFlags::invalidate), EBUSY);
}

TYPED_TEST(Errno, a_requested_stop_ends_every_call_with_eintr) {
  this->build("AAAA");
  std::stop_source source;
  source.request_stop();
  const std::stop_token stop = source.get_token();
  auto& s = this->space();
  EXPECT_EQ(this->error_of(s.map(this->request(8, 1), stop)), EINTR);
  EXPECT_EQ(this->error_of(s.unmap(page_at(0), 1, stop)), EINTR);
  EXPECT_EQ(this->error_of(s.protect(page_at(0), 1, Prot::read, stop)), EINTR);
  EXPECT_EQ(this->error_of(s.advise(page_at(0), 1, Advice::dontfork, stop)), EINTR);
  EXPECT_EQ(this->error_of(s.lock(page_at(0), 1, LockFlags::none, stop)), EINTR);
  EXPECT_EQ(this->error_of(s.unlock(page_at(0), 1, stop)), EINTR);
  EXPECT_EQ(this->error_of(s.seal(page_at(0), 1, stop)), EINTR);
  EXPECT_EQ(
      this->error_of(s.remap(
          {.old_address = page_at(0), .old_length = kPageSize, .new_length = 2 * kPageSize}, stop)),
      EINTR);
  EXPECT_EQ(this->error_of(s.lock_all(LockAllFlags::current, stop)), EINTR);
  EXPECT_EQ(this->error_of(s.unlock_all(stop)), EINTR);
  EXPECT_EQ(this->error_of(s.set_name(page_at(0), kPageSize, "x", stop)), EINTR);
  EXPECT_EQ(this->error_of(s.sync(page_at(0), kPageSize, SyncFlags::sync, stop)), EINTR);
  std::array<uint8_t, 1> bits{};
  EXPECT_EQ(this->error_of(s.residency(page_at(0), kPageSize, bits, stop)), EINTR);
  EXPECT_EQ(this->error_of(s.advise(page_at(0), kPageSize, Advice::willneed, stop)), EINTR);
  EXPECT_EQ(this->error_of(s.advise(page_at(0), kPageSize, Advice::populate_read, stop)), EINTR);
  s.set_brk_start(page_at(20));
  EXPECT_EQ(s.brk(page_at(22), stop), page_at(20));
  FakeMmu mmu;
  TestSpace<TypeParam> child(this->context_, mmu, small_space(design_of<TypeParam>()));
  EXPECT_EQ(this->error_of(child.copy_from(s, stop)), EINTR);
  EXPECT_EQ(this->draw(), "AAAA");
}

// The format is the kernel's own: lines of this process's maps come out as they went in.
TEST(MapsText, lines_look_like_the_kernels) {
  std::ifstream maps("/proc/self/maps");
  std::string line;
  int lines = 0;
  while (std::getline(maps, line)) {
    VmaInfo v;
    unsigned long start = 0, end = 0, offset = 0, inode = 0;
    unsigned major = 0, minor = 0;
    char perms[5] = {};
    int name_at = 0;
    ASSERT_EQ(std::sscanf(line.c_str(), "%lx-%lx %4s %lx %x:%x %lu %n", &start, &end, perms,
                          &offset, &major, &minor, &inode, &name_at),
              7)
        << line;
    v.range = {Address{start}, Address{end}};
    VmaFlags f;
    if (perms[0] == 'r') f |= VmaFlag::read;
    if (perms[1] == 'w') f |= VmaFlag::write;
    if (perms[2] == 'x') f |= VmaFlag::exec;
    if (perms[3] == 's') f |= VmaFlag::may_share;
    v.flags = f;
    v.page_offset = offset >> kPageShift;
    v.has_file = inode != 0;
    v.device_major = major;
    v.device_minor = minor;
    v.inode = inode;
    v.name = line.substr(std::min(line.size(), static_cast<size_t>(name_at)));
    EXPECT_EQ(maps_line(v), line + "\n");
    ++lines;
  }
  EXPECT_GT(lines, 5);
}

TEST(MapsText, a_name_behind_long_numbers_follows_after_one_blank) {
  VmaInfo v;
  v.range = {Address{0x7ffff7fd0000}, Address{0x7ffff7fd1000}};
  v.page_offset = uint64_t{1} << 40;
  v.has_file = true;
  v.device_major = 0x1000;
  v.inode = ~uint64_t{0};
  v.name = "/file";
  EXPECT_EQ(maps_line(v),
            "7ffff7fd0000-7ffff7fd1000 ---p 10000000000000 1000:00 18446744073709551615 /file\n");
}

}  // namespace
}  // namespace pervma::test

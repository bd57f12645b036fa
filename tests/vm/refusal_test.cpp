// What a space refuses when it is asked for something odd: stops, the system's own mappings, names,
// places, limits.
#include <array>

#include "vm/support.h"

namespace pervma::test {
namespace {

template <class L>
using Refusal = SpaceTest<L>;
TYPED_TEST_SUITE(Refusal, EveryDesign);

// A stop that comes while pages are brought in is seen before the next VMA at the latest.
TYPED_TEST(Refusal, a_stop_ends_the_bringing_in_of_pages_between_two_vmas) {
  this->build("AARRAA");
  std::stop_source source;
  uint64_t faults = 0;
  this->space().on_fault = [&] {
    if (++faults == 2) source.request_stop();
  };
  auto& s = this->space();
  EXPECT_EQ(
      this->error_of(s.lock(page_at(0), bytes_of_pages(6), LockFlags::none, source.get_token())),
      EINTR);
  EXPECT_LE(faults, 2u);
}

TYPED_TEST(Refusal, the_systems_own_mappings_refuse_what_would_break_them) {
  auto& s = this->space();
  ASSERT_TRUE(s.map_special({page_at(2), page_at(4)}, Prot::read, "[vdso]"));
  EXPECT_EQ(this->error_of(s.map_special({page_at(3), page_at(5)}, Prot::read, "[x]")), EEXIST);
  EXPECT_TRUE(s.map_special({page_at(6), page_at(7)}, Prot::read, "[x]"));
  EXPECT_EQ(this->error_of(s.map_special({page_at(3), page_at(3)}, Prot::read, "[x]")), EINVAL);
  EXPECT_EQ(this->error_of(s.map_special({page_at(3) + 1, page_at(4)}, Prot::read, "[x]")), EINVAL);
  EXPECT_EQ(this->error_of(s.map_special({page_at(8), page_at(9) + 1}, Prot::read, "[x]")), EINVAL);
  EXPECT_EQ(this->error_of(s.map_special({page_at(65535), page_at(65537)}, Prot::read, "[x]")),
            EINVAL);
  for (const Advice advice :
       {Advice::dontneed, Advice::dontneed_locked, Advice::free, Advice::guard_install,
        Advice::guard_remove, Advice::pageout, Advice::dodump}) {
    EXPECT_EQ(this->advise(2, 2, advice), EINVAL) << static_cast<int>(advice);
  }
  EXPECT_EQ(this->resize(2, 2, 3, RemapFlags::maymove), -EFAULT);
  EXPECT_EQ(this->place_of(s.remap({.old_address = page_at(2),
                                    .old_length = bytes_of_pages(2),
                                    .new_length = bytes_of_pages(2),
                                    .flags = RemapFlags::maymove | RemapFlags::dontunmap},
                                   {})),
            -EINVAL);
  EXPECT_EQ(this->error_of(s.set_name(page_at(2), kPageSize, "x", {})), EBADF);
  EXPECT_EQ(this->error_of(s.lock(page_at(2), kPageSize, LockFlags::none, {})), 0);
  EXPECT_EQ(s.locked_pages().value, 0u);
}

TYPED_TEST(Refusal, names_are_checked_before_anything_is_named) {
  this->build("AAFF");
  auto& s = this->space();
  const auto name = [&](uint64_t page, uint64_t bytes, std::string_view text) {
    return this->error_of(s.set_name(page_at(page), bytes, text, {}));
  };
  EXPECT_EQ(name(0, kPageSize, std::string(80, 'x')), EINVAL);
  EXPECT_EQ(name(0, kPageSize, "a\nb"), EINVAL);
  EXPECT_EQ(name(0, kPageSize, "caf\xe9"), EINVAL);
  EXPECT_EQ(name(0, kPageSize, "a[b]"), EINVAL);
  EXPECT_EQ(this->error_of(s.set_name(page_at(0) + 1, kPageSize, "x", {})), EINVAL);
  EXPECT_EQ(name(0, 0, "x"), 0);
  EXPECT_EQ(name(0, 3 * kPageSize, "x"), EBADF);  // A file's; what is before it has its name.
  EXPECT_NE(s.to_maps().find("[anon:x]"), std::string::npos);
  EXPECT_EQ(name(0, 2 * kPageSize, ""), 0);
  EXPECT_EQ(s.to_maps().find("[anon:"), std::string::npos);
}

// Top-down finds nothing below mmap_base: from a third of the space on, bottom-up.
TYPED_TEST(Refusal, a_place_above_the_base_is_found_when_there_is_none_below) {
  SpaceOptions options = small_space(design_of<TypeParam>());
  options.lowest = Address{0x10000};
  options.mmap_base = page_at(8);
  options.top = page_at(65536);
  this->remake(options);
  auto& s = this->space();
  ASSERT_TRUE(s.map({.address = Address{0x10000},
                     .length = page_at(8) - Address{0x10000},
                     .flags = MapFlags::private_ | MapFlags::anonymous | MapFlags::fixed},
                    {}));
  ASSERT_TRUE(this->map(10, 2, this->kRw, MapFlags::growsdown));
  ASSERT_TRUE(this->map(600, 4, this->kRw, MapFlags::growsdown));
  const auto place = [&](uint64_t pages) {
    return this->place_of(s.map({.length = bytes_of_pages(pages),
                                 .prot = Prot::read,
                                 .flags = MapFlags::private_ | MapFlags::anonymous},
                                {}));
  };
  EXPECT_EQ(place(4), 12);     // Not in the gap of the stack at 10.
  EXPECT_EQ(place(400), 604);  // Nor in that of the one at 600.
  EXPECT_EQ(place(64932), -ENOMEM);
  EXPECT_EQ(place(64532), 1004);
  EXPECT_EQ(place(300), 16);
  EXPECT_EQ(place(300), -ENOMEM);
}

TYPED_TEST(Refusal, a_heap_that_was_unmapped_does_not_shrink) {
  auto& s = this->space();
  s.set_brk_start(page_at(10));
  ASSERT_EQ(s.brk(page_at(18), {}), page_at(18));
  ASSERT_EQ(this->unmap(14, 4), 0);
  EXPECT_EQ(s.brk(page_at(15), {}), page_at(18));  // Nothing is there, nor above.
  ASSERT_TRUE(this->map(30, 1, this->kRw));
  EXPECT_EQ(s.brk(page_at(15), {}), page_at(18));
  EXPECT_EQ(s.brk(page_at(12), {}), page_at(12));  // Here something is left to cut.
  EXPECT_EQ(this->space().check(), "");
}

TYPED_TEST(Refusal, a_stack_grows_only_where_it_may) {
  SpaceOptions options = small_space(design_of<TypeParam>());
  options.address_space_limit = bytes_of_pages(700);
  this->remake(options);
  auto& s = this->space();
  ASSERT_TRUE(this->map(4, 1, this->kRw));
  EXPECT_FALSE(s.grow_stack_to(page_at(2)));  // It does not grow.
  EXPECT_FALSE(s.grow_stack_to(page_at(9)));  // Nothing is above.
  ASSERT_TRUE(this->map(900, 2, this->kRw, MapFlags::growsdown));
  EXPECT_TRUE(s.grow_stack_to(page_at(890)));
  EXPECT_TRUE(s.grow_stack_to(page_at(895)));   // It is there.
  EXPECT_FALSE(s.grow_stack_to(page_at(200)));  // More than may be mapped.
  ASSERT_EQ(this->unmap(4, 1), 0);
  ASSERT_TRUE(this->map(1, 2, this->kRw, MapFlags::growsdown));
  EXPECT_TRUE(s.grow_stack_to(page_at(0)));
  EXPECT_FALSE(s.grow_stack_to(kBase - kPageSize));  // Below the lowest.
}

TYPED_TEST(Refusal, calls_that_ask_for_nothing_or_too_much) {
  this->build("AA..AA");
  auto& s = this->space();
  EXPECT_TRUE(s.vmas_in({page_at(3), page_at(3)}).empty());
  std::array<uint8_t, 1> one{};
  EXPECT_EQ(this->error_of(s.residency(page_at(0), bytes_of_pages(2), one, {})), EINVAL);
  EXPECT_EQ(
      this->error_of(s.map({.length = kPageSize,
                            .flags = MapFlags::private_ | MapFlags::anonymous | MapFlags::hugetlb},
                           {})),
      EINVAL);
  // A hint below what may be mapped means the lowest that may.
  EXPECT_EQ(this->place_of(s.map({.address = Address{kPageSize},
                                  .length = kPageSize,
                                  .flags = MapFlags::private_ | MapFlags::anonymous},
                                 {})),
            65535);
  ASSERT_EQ(this->unmap(0, 2), 0);
  EXPECT_EQ(this->place_of(s.map({.address = Address{kPageSize},
                                  .length = kPageSize,
                                  .flags = MapFlags::private_ | MapFlags::anonymous},
                                 {})),
            0);
}

TYPED_TEST(Refusal, everything_can_be_locked_within_the_limit) {
  SpaceOptions options = small_space(design_of<TypeParam>());
  options.memlock_limit = bytes_of_pages(8);
  this->remake(options);
  this->build("AAAA");
  auto& s = this->space();
  EXPECT_EQ(this->error_of(s.lock_all(LockAllFlags::current, {})), 0);
  EXPECT_EQ(s.locked_pages().value, 4u);
  ASSERT_TRUE(this->map(10, 5, Prot::read));
  EXPECT_EQ(this->error_of(s.lock_all(LockAllFlags::current, {})), ENOMEM);
}

TYPED_TEST(Refusal, a_full_map_refuses_what_may_need_another_vma) {
  SpaceOptions options = small_space(design_of<TypeParam>());
  options.max_map_count = 6;
  this->remake(options);
  this->build("AA.A.A");
  EXPECT_EQ(this->move(0, 1, 1, 20), -ENOMEM);
  EXPECT_EQ(this->resize(0, 2, 4, RemapFlags::maymove), -ENOMEM);
  EXPECT_EQ(this->resize(0, 2, 3), 0);
}

}  // namespace
}  // namespace pervma::test

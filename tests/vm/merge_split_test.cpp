// What mapping operations do to the list of VMAs, as drawings before and after (support.h).
#include <optional>
#include <thread>

#include "vm/support.h"

namespace pervma::test {
namespace {

template <class L>
class MergeSplit : public SpaceTest<L> {};
TYPED_TEST_SUITE(MergeSplit, EveryDesign);

// A new range beside others: what stands before, the mapping put in at the marked pages, what is
// left.
struct NewRange {
  const char* before;
  uint64_t page;
  uint64_t pages;
  const char* after;
};

TYPED_TEST(MergeSplit, a_new_range_joins_the_neighbours_that_fit) {
  constexpr NewRange kCases[] = {
      {"AA..", 2, 2, "AAAA"},      // left
      {"..AA", 0, 2, "AAAA"},      // right
      {"AA..AA", 2, 2, "AAAAAA"},  // both
      {"aa..AA", 2, 2, "aaaaaa"},  // one side has an identity: it spreads
      {"AA..aa", 2, 2, "aaaaaa"},
      {"aa..aa", 2, 2, "aaaa|aa"},  // two identities: the left one wins
      {"RR..AA", 2, 2, "RRAAAA"},
      {"AA..RR", 2, 2, "AAAARR"},
      {"RR..RR", 2, 2, "RRAARR"},
      {"rr..AA", 2, 2, "rrAAAA"},
      {"SS..SS", 2, 2, "SSAASS"},
      {"FF..FF", 2, 2, "FFAAFF"},
      {"ll..AA", 2, 2, "llAAAA"},
      {"ZZ..ZZ", 2, 2, "ZZAAZZ"},
      {"AA...AA", 3, 2, "AA.AAAA"},
      {"....", 1, 2, ".AA"},
      {"RRRRRR", 2, 2, "RRAARR"},  // over others: cut out of the
                                   // middle,
      {"RRRRRR", 0, 2, "AARRRR"},  // the front,
      {"RRRRRR", 4, 2, "RRRRAA"},  // the back,
      {"RR.NN", 0, 5, "AAAAA"},    // everything and a hole,
      {"AARRAA", 2, 2, "AAAAAA"},  // what separated two, which become one,
      {"AAAAAA", 2, 2, "AAAAAA"},  // and its like.
      {"aaaaaa", 2, 2, "aaaaaa"},
      {"aaNNAA", 1, 4, "aaaaaa"},
  };
  for (const NewRange& c : kCases) {
    SCOPED_TRACE(c.before);
    this->remake(small_space(design_of<TypeParam>()));
    this->build(c.before);
    ASSERT_TRUE(this->map(c.page, c.pages, this->kRw));
    EXPECT_EQ(this->draw(), c.after);
  }
}

TYPED_TEST(MergeSplit, a_file_joins_only_where_its_offsets_go_on) {
  this->build("FF....");
  ASSERT_TRUE(this->map(2, 2, this->kRw, MapFlags::private_, this->file_, 2));
  EXPECT_EQ(this->draw(), "FFFF");
  ASSERT_TRUE(this->map(4, 2, this->kRw, MapFlags::private_, this->file_, 5));
  EXPECT_EQ(this->draw(), "FFFF|FF");
  // Another opening of the same object never merges.
  ASSERT_TRUE(this->map(6, 2, this->kRw, MapFlags::private_, open_named("/lib/some.so"), 7));
  EXPECT_EQ(this->draw(), "FFFF|FF|FF");
}

// A part whose rights change from read-only to writable.
struct Change {
  const char* before;
  uint64_t page;
  uint64_t pages;
  const char* after;
};

TYPED_TEST(MergeSplit, a_changed_range_joins_or_is_cut_out) {
  constexpr Change kCases[] = {
      {"RRRRRR", 2, 2, "RRAARR"},  // strictly inside: two cuts
      {"RRRRRR", 0, 2, "AARRRR"},  // one cut
      {"RRRRRR", 4, 2, "RRRRAA"},
      {"RRRR", 0, 4, "AAAA"},      // none
      {"AARRRR", 2, 2, "AAAARR"},  // left partial
      {"AARRRR", 2, 4, "AAAAAA"},  // left full
      {"RRRRAA", 2, 2, "RRAAAA"},  // right partial
      {"RRRRAA", 0, 4, "AAAAAA"},  // right full
      {"AARRAA", 2, 2, "AAAAAA"},  // both
      {"AARRRRAA", 3, 2, "AARAARAA"},
      {"aaRRAA", 2, 2, "aaaaaa"},  // identities
      {"AARRaa", 2, 2, "aaaaaa"},
      {"aaRRaa", 2, 2, "aaaa|aa"},  // the middle joins the left, not both
      {"NNRRNN", 2, 2, "NNAANN"},
      {"RRNNRR", 0, 6, "AAAAAA"},  // several, one after the other
      {"llRRll", 2, 2, "llAAll"},
  };
  for (const Change& c : kCases) {
    SCOPED_TRACE(std::string(c.before) + " at " + std::to_string(c.page));
    this->remake(small_space(design_of<TypeParam>()));
    this->build(c.before);
    ASSERT_EQ(this->protect(c.page, c.pages, this->kRw), 0);
    EXPECT_EQ(this->draw(), c.after);
  }
}

TYPED_TEST(MergeSplit, pieces_of_a_touched_vma_find_together_again) {
  this->build("aaaaaa");
  ASSERT_EQ(this->protect(2, 2, Prot::read), 0);
  EXPECT_EQ(this->draw(), "aarraa");
  ASSERT_EQ(this->protect(2, 2, this->kRw), 0);
  EXPECT_EQ(this->draw(), "aaaaaa");
}

TYPED_TEST(MergeSplit, unmap_cuts_and_passes_over_holes) {
  constexpr Change kCases[] = {
      {"AAAAAA", 2, 2, "AA..AA"}, {"AAAAAA", 0, 2, "..AAAA"}, {"AAAAAA", 4, 2, "AAAA"},
      {"AARRAA", 1, 4, "A....A"}, {"AA..RR", 1, 4, "A....R"}, {"AA", 0, 6, ""},
      {"..", 0, 2, ""},
  };
  for (const Change& c : kCases) {
    SCOPED_TRACE(c.before);
    this->remake(small_space(design_of<TypeParam>()));
    if (std::string_view(c.before) != "..") this->build(c.before);
    ASSERT_EQ(this->unmap(c.page, c.pages), 0);
    EXPECT_EQ(this->draw(), c.after);
  }
}

TYPED_TEST(MergeSplit, a_cut_keeps_page_offsets) {
  this->build("FFFFFF");
  ASSERT_EQ(this->unmap(2, 2), 0);
  const std::vector<VmaInfo> all = this->space().vmas();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].page_offset, 0u);
  EXPECT_EQ(all[1].page_offset, 4u);
}

TYPED_TEST(MergeSplit, special_mappings_never_merge) {
  const auto special = [&](uint64_t page) {
    return this->space().map_special({page_at(page), page_at(page + 2)}, Prot::read, "[vdso]");
  };
  ASSERT_TRUE(special(0));
  ASSERT_TRUE(special(2));
  EXPECT_EQ(this->draw(), "RR|RR");
}

TYPED_TEST(MergeSplit, the_guard_mark_hinders_no_merge_and_spreads) {
  this->build("AA..AA");
  ASSERT_EQ(this->advise(0, 1, Advice::guard_install), 0);
  EXPECT_TRUE(this->mmu_.has_guard(page_at(0)));
  ASSERT_TRUE(this->map(2, 2, this->kRw));
  EXPECT_EQ(this->draw(), "aaaaaa");
  EXPECT_TRUE(this->space().find_vma(page_at(5))->flags.has(VmaFlag::maybe_guard));
  // Advice keeps the marks; unmapping does not.
  ASSERT_EQ(this->advise(0, 6, Advice::dontneed), 0);
  EXPECT_TRUE(this->mmu_.has_guard(page_at(0)));
  ASSERT_EQ(this->advise(0, 6, Advice::guard_remove), 0);
  EXPECT_FALSE(this->mmu_.has_guard(page_at(0)));
  EXPECT_TRUE(this->space().find_vma(page_at(5))->flags.has(VmaFlag::maybe_guard));
}

TYPED_TEST(MergeSplit, names_keep_neighbours_apart) {
  this->build("AAAAAA");
  auto& space = this->space();
  ASSERT_TRUE(space.set_name(page_at(2), bytes_of_pages(2), "heap", {}));
  EXPECT_EQ(this->draw(), "AA|AA|AA");
  EXPECT_EQ(space.find_vma(page_at(2))->name, "[anon:heap]");
  ASSERT_TRUE(space.set_name(page_at(4), bytes_of_pages(2), std::string("he") + "ap", {}));
  EXPECT_EQ(this->draw(), "AA|AAAA");
  EXPECT_EQ(this->error_of(space.set_name(page_at(0), 1, "no[brackets]", {})), EINVAL);
  ASSERT_TRUE(space.set_name(page_at(2), bytes_of_pages(4), "", {}));
  EXPECT_EQ(this->draw(), "AAAAAA");
}

// --- after a fork -------------------------------------------------------------------------------

TYPED_TEST(MergeSplit, a_forks_child_does_not_spread_its_ancestors_pages) {
  this->build("aa..");
  FakeMmu mmu;
  TestSpace<TypeParam> child(this->context_, mmu, small_space(design_of<TypeParam>()));
  ASSERT_TRUE(child.copy_from(this->space(), {}));
  ASSERT_TRUE(this->map(2, 2, this->kRw));
  EXPECT_EQ(this->draw(), "aaaa");  // the parent's chain has one link
  const MapRequest request{.address = page_at(2),
                           .length = bytes_of_pages(2),
                           .prot = this->kRw,
                           .flags = MapFlags::private_ | MapFlags::fixed | MapFlags::anonymous};
  ASSERT_TRUE(child.map(request, {}));
  EXPECT_EQ(child.map_count(), 2u);
  EXPECT_EQ(child.check(), "");
}

TYPED_TEST(MergeSplit, a_child_has_what_is_not_left_out_or_wiped) {
  this->build("aaaaaaaa");
  ASSERT_EQ(this->advise(0, 2, Advice::dontfork), 0);
  ASSERT_EQ(this->advise(2, 2, Advice::wipeonfork), 0);
  ASSERT_TRUE(this->space().lock(page_at(4), bytes_of_pages(2), LockFlags::none, {}));
  FakeMmu mmu;
  TestSpace<TypeParam> child(this->context_, mmu, small_space(design_of<TypeParam>()));
  ASSERT_TRUE(child.copy_from(this->space(), {}));
  EXPECT_EQ(child.check(), "");
  EXPECT_FALSE(child.find_vma(page_at(0)));
  EXPECT_EQ(child.find_vma(page_at(2))->anon_vma, 0u);
  EXPECT_FALSE(child.find_vma(page_at(4))->flags.has(VmaFlag::locked));
  EXPECT_EQ(child.locked_pages(), PageCount{0});
  EXPECT_NE(child.find_vma(page_at(4))->anon_vma, this->space().find_vma(page_at(4))->anon_vma);
}

TYPED_TEST(MergeSplit, an_ancestors_identity_is_used_again_when_its_vmas_are_gone) {
  using Space = TestSpace<TypeParam>;
  const SpaceOptions options = small_space(design_of<TypeParam>());
  this->build("aa");
  std::vector<std::unique_ptr<FakeMmu>> mmus;
  std::vector<std::unique_ptr<Space>> line;
  const auto fork_of = [&](Space& parent) {
    mmus.push_back(std::make_unique<FakeMmu>());
    line.push_back(std::make_unique<Space>(this->context_, *mmus.back(), options));
    EXPECT_TRUE(line.back()->copy_from(parent, {}));
    return line.back()->find_vma(page_at(0))->anon_vma;
  };
  const uint64_t child = fork_of(this->space());
  const uint64_t grandchild = fork_of(*line[0]);
  EXPECT_NE(child, grandchild);
  line[0]->exit();
  EXPECT_EQ(fork_of(*line[1]), child);
  line[1]->exit();
  EXPECT_EQ(fork_of(*line[2]), grandchild);
}

// --- remap --------------------------------------------------------------------------------------

TYPED_TEST(MergeSplit, an_untouched_vma_that_moves_merges_at_its_new_place) {
  this->build("AA..AA");
  ASSERT_EQ(this->move(4, 2, 2, 2), 2);
  EXPECT_EQ(this->draw(), "AAAA");
}

TYPED_TEST(MergeSplit, a_touched_vma_keeps_its_offsets_and_stays_apart) {
  this->build("AA..aa");
  ASSERT_EQ(this->move(4, 2, 2, 2), 2);
  EXPECT_EQ(this->draw(), "AAaa");
  EXPECT_TRUE(this->mmu_.has(page_at(2)));
  ASSERT_EQ(this->move(2, 2, 2, 8), 8);
  ASSERT_EQ(this->move(8, 2, 2, 4), 4);
  EXPECT_EQ(this->draw(), "AA..aa");
}

TYPED_TEST(MergeSplit, a_touched_vma_gives_the_neighbour_it_merges_with_its_identity) {
  this->build("aaaa");
  ASSERT_EQ(this->move(2, 2, 2, 8), 8);  // its offsets belong at page 2
  ASSERT_EQ(this->unmap(0, 2), 0);
  ASSERT_TRUE(this->map(0, 2, this->kRw));
  ASSERT_EQ(this->move(8, 2, 2, 2), 2);
  EXPECT_EQ(this->draw(), "aaaa");
}

// R8: a VMA that grows over touched pages gets their identity only when its readers have left.
TYPED_TEST(MergeSplit, r8_the_identity_of_a_survivor_waits_for_its_readers) {
  if constexpr (kLocksVmas<TypeParam>) {
    this->build("aaaa");
    ASSERT_EQ(this->move(2, 2, 2, 8), 8);
    ASSERT_EQ(this->unmap(0, 2), 0);
    ASSERT_TRUE(this->map(0, 2, this->kRw));
    std::optional<VmaRead> reader = this->space().try_read_vma(page_at(0));
    ASSERT_TRUE(reader);
    std::thread merger([&] { EXPECT_EQ(this->move(8, 2, 2, 2), 2); });
    // A writer that waits keeps new readers out, except under `count`.
    std::thread([&] {
      for (int i = 0; i < 300 && this->space().try_read_vma(page_at(0)); ++i) {
        std::this_thread::yield();
      }
    }).join();
    EXPECT_EQ(reader->info().anon_vma, 0u);
    reader.reset();
    merger.join();
    EXPECT_NE(this->space().find_vma(page_at(0))->anon_vma, 0u);
    EXPECT_EQ(this->draw(), "aaaa");
  }
}

TYPED_TEST(MergeSplit, a_move_inside_one_untouched_vma_merges_with_itself) {
  this->build("AAAAAA");
  ASSERT_EQ(this->move(1, 2, 2, 6), 6);
  EXPECT_EQ(this->draw(), "A..AAAAA");
}

TYPED_TEST(MergeSplit, growing_in_place_and_by_moving) {
  this->build("AA..RR");
  EXPECT_EQ(this->resize(0, 2, 4), 0);
  EXPECT_EQ(this->draw(), "AAAARR");
  EXPECT_EQ(this->resize(0, 4, 5), -ENOMEM);
  EXPECT_EQ(this->resize(0, 4, 5, RemapFlags::maymove), 65531);
  EXPECT_EQ(this->resize(65531, 5, 1), 65531);
  EXPECT_EQ(this->resize(4, 1, 2), -ENOMEM);  // not the VMA's end
  EXPECT_EQ(this->resize(4, 4, 5), -EFAULT);  // beyond it
}

TYPED_TEST(MergeSplit, growing_up_to_a_neighbour_joins_it) {
  this->build("AA..AA");
  EXPECT_EQ(this->resize(0, 2, 4), 0);
  EXPECT_EQ(this->draw(), "AAAAAA");
}

TYPED_TEST(MergeSplit, shrinking_unmaps_the_tail_of_several) {
  this->build("AARRNN");
  EXPECT_EQ(this->resize(0, 6, 1), 0);
  EXPECT_EQ(this->draw(), "A");
}

TYPED_TEST(MergeSplit, a_move_of_several_vmas_keeps_their_holes) {
  this->build("AA..RRNN");
  ASSERT_EQ(this->move(1, 6, 6, 20), 20);
  EXPECT_EQ(this->draw(), "A......N............A..RRN");
  EXPECT_EQ(this->move(0, 30, 30, 100), 100);
  EXPECT_EQ(this->move(1, 4, 4, 40), -EFAULT);  // begins in a hole
}

TYPED_TEST(MergeSplit, dontunmap_leaves_an_empty_mapping_behind) {
  this->build("aaaa");
  ASSERT_EQ(this->move(0, 4, 4, 8, RemapFlags::dontunmap), 8);
  EXPECT_EQ(this->draw(), "AAAA....aaaa");
  ASSERT_EQ(this->move(1, 2, 2, 20, RemapFlags::dontunmap), 20);  // a part of one
  EXPECT_EQ(this->draw(), "AAAA....aaaa........AA");
  EXPECT_TRUE(this->mmu_.has(page_at(8)));
  EXPECT_FALSE(this->mmu_.has(page_at(0)));
}

TYPED_TEST(MergeSplit, old_length_zero_duplicates_shared_memory_only) {
  this->build("SS.AA");
  EXPECT_EQ(this->move(0, 0, 2, 8), 8);
  EXPECT_EQ(this->draw(), "SS.AA...SS");
  EXPECT_EQ(this->move(3, 0, 2, 12), -EINVAL);
}

}  // namespace
}  // namespace pervma::test

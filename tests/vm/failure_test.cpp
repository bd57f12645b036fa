// Allocation failures at every site, and random sequences against a model of pages.
#include <random>

#include "vm/support.h"

namespace pervma::test {
namespace {

// Fails the n-th allocation from now on, and all later ones.
struct FailAfter {
  uint64_t left = 0;
  uint64_t asked = 0;
  static bool fails(void* self) {
    auto& f = *static_cast<FailAfter*>(self);
    ++f.asked;
    if (f.left == 0) return true;
    --f.left;
    return false;
  }
};

template <class L>
class Failure : public SpaceTest<L> {
 protected:
  void set_hook(FailAfter* fail) {
    const AllocationHook hook =
        fail != nullptr ? AllocationHook{&FailAfter::fails, fail} : AllocationHook{};
    this->context_.nodes.set_allocation_hook(hook);
    this->context_.template vmas<L>().set_allocation_hook(hook);
  }
  std::string state() {
    std::string text = this->space().to_maps();
    for (const VmaInfo& v : this->space().vmas()) {
      text += std::to_string(v.flags.bits()) + "/" + std::to_string(v.anon_vma) + "/" +
              std::to_string(v.page_offset) + "\n";
    }
    return text + std::to_string(this->space().locked_pages().value);
  }
  // Runs `act` in a fresh space with every allocation failing in turn, until it succeeds.
  template <class Act>
  void expect_all_or_nothing(const std::string& drawing, Act act) {
    for (uint64_t n = 0;; ++n) {
      ASSERT_LT(n, 100u) << "it never succeeds";
      this->remake(small_space(design_of<L>()));
      this->build(drawing);
      const std::string before = state();
      FailAfter fail{.left = n};
      set_hook(&fail);
      const int error = act();
      set_hook(nullptr);
      EXPECT_EQ(this->space().check(), "");
      if (error == 0) return;
      EXPECT_TRUE(error == ENOMEM || error == EAGAIN) << error;
      EXPECT_EQ(state(), before) << "allocation " << n;
    }
  }
};
TYPED_TEST_SUITE(Failure, EveryDesign);

TYPED_TEST(Failure, r27_no_memory_leaves_the_space_as_it_was) {
  const auto all = [this](const char* what, const char* drawing, auto act) {
    SCOPED_TRACE(what);
    this->expect_all_or_nothing(drawing, act);
  };
  all("map", "RRRRRR", [&] { return this->error_of(this->map(2, 2, this->kRw)); });
  all("map shared", "aarraa",
      [&] { return this->error_of(this->map(1, 4, this->kRw, MapFlags::shared)); });
  all("unmap", "AAAAAA", [&] { return this->unmap(2, 2); });
  all("protect", "RRRRRR", [&] { return this->protect(2, 2, this->kRw); });
  all("advise", "AAAAAA", [&] { return this->advise(2, 2, Advice::dontfork); });
  all("move", "AAAAAA..aaaa",
      [&] { return static_cast<int>(std::min<int64_t>(0, this->move(2, 2, 2, 9)) * -1); });
  all("move and grow", "aaaaaa",
      [&] { return static_cast<int>(std::min<int64_t>(0, this->move(2, 2, 4, 20)) * -1); });
  all("grow", "AA", [&] { return static_cast<int>(this->resize(0, 2, 4) * -1); });
  all("shrink", "AAAAAA", [&] { return static_cast<int>(this->resize(0, 4, 2) * -1); });
  all("lock", "AAAAAA", [&] {
    return this->error_of(this->space().lock(page_at(2), kPageSize, LockFlags::none, {}));
  });
  all("seal", "AAAAAA",
      [&] { return this->error_of(this->space().seal(page_at(2), kPageSize, {})); });
  all("special", "A", [&] {
    return this->error_of(
        this->space().map_special({page_at(4), page_at(5)}, Prot::read, "[vdso]"));
  });
}

TYPED_TEST(Failure, a_fork_that_fails_leaves_the_parent_and_an_empty_child) {
  for (uint64_t n = 0;; ++n) {
    ASSERT_LT(n, 100u);
    this->remake(small_space(design_of<TypeParam>()));
    this->build("aaRRaaNNaa");
    const std::string before = this->state();
    FailAfter fail{.left = n};
    bool done = false;
    {
      FakeMmu mmu;
      TestSpace<TypeParam> child(this->context_, mmu, small_space(design_of<TypeParam>()));
      this->set_hook(&fail);
      done = child.copy_from(this->space(), {}).has_value();
      this->set_hook(nullptr);
      EXPECT_EQ(child.check(), "");
    }
    EXPECT_EQ(this->state(), before);
    if (done) break;
  }
  this->mmu_.copy_fails = true;
  FakeMmu mmu;
  TestSpace<TypeParam> child(this->context_, mmu, small_space(design_of<TypeParam>()));
  EXPECT_EQ(this->error_of(child.copy_from(this->space(), {})), ENOMEM);
  EXPECT_EQ(child.to_maps(), "");
}

// R24: whatever the copy had before it was stopped is gone when its lock is released, pages
// included.
TYPED_TEST(Failure, r24_a_fork_that_is_stopped_halfway_leaves_an_empty_child) {
  this->build("aaRRaaNNaa");
  ASSERT_EQ(this->advise(2, 2, Advice::dontfork), 0);
  const std::string before = this->state();
  for (int stop_at = 1; stop_at <= 3; ++stop_at) {
    std::stop_source source;
    int copies = 0;
    this->mmu_.on_copy = [&](const VmaFields&) {
      if (++copies == stop_at) source.request_stop();
    };
    FakeMmu mmu;
    TestSpace<TypeParam> child(this->context_, mmu, small_space(design_of<TypeParam>()));
    EXPECT_EQ(this->error_of(child.copy_from(this->space(), source.get_token())), EINTR);
    EXPECT_EQ(child.map_count(), 0u);
    EXPECT_EQ(child.mapped_pages(), PageCount{0});
    EXPECT_EQ(child.to_maps(), "");
    EXPECT_EQ(child.check(), "");
    EXPECT_FALSE(mmu.has(page_at(0)));
    EXPECT_EQ(this->state(), before);
  }
}

// R5: no fault can come between the copy of a VMA and the end of the fork.
TYPED_TEST(Failure, r5_a_forks_parent_vmas_stay_locked_from_before_their_copy_until_its_end) {
  this->build("aaRRaaNNaa");
  std::vector<Address> copied;
  this->mmu_.on_copy = [&](const VmaFields& vma) {
    copied.push_back(vma.start());
    for (const Address a : copied) EXPECT_FALSE(this->space().try_read_vma(a)) << a.value;
  };
  FakeMmu mmu;
  TestSpace<TypeParam> child(this->context_, mmu, small_space(design_of<TypeParam>()));
  ASSERT_TRUE(child.copy_from(this->space(), {}));
  EXPECT_EQ(copied.size(), 5u);
  EXPECT_EQ(child.to_maps(), this->space().to_maps());
  EXPECT_EQ(child.check(), "");
}

TYPED_TEST(Failure, pages_that_cannot_move_go_back) {
  this->build("aaaaaa");
  for (uint64_t p = 1; p < 4; ++p) ASSERT_TRUE(this->write(p));
  this->mmu_.move_budget = 2;
  EXPECT_EQ(this->move(1, 4, 4, 20), -ENOMEM);
  EXPECT_EQ(this->draw(), "aaaaaa");
  for (uint64_t p = 0; p < 4; ++p) EXPECT_TRUE(this->mmu_.has(page_at(p))) << p;
}

// --- random sequences against pages
// -------------------------------------------------------------------

// What one page shows; the map must be the runs of equal pages, perhaps cut finer.
struct Page {
  VmaFlags flags;
  uint64_t offset = 0;
  const void* object = nullptr;
};

template <class L>
class RandomOps : public SpaceTest<L> {
 protected:
  static constexpr uint64_t kPages = 64;
  std::array<std::optional<Page>, kPages> model_{};
  std::mt19937_64 random_{20261121};

  uint64_t below(uint64_t n) { return random_() % n; }

  void step() {
    const uint64_t page = below(kPages);
    const uint64_t pages = 1 + below(std::min<uint64_t>(12, kPages - page));
    switch (below(10)) {
      case 0:
      case 1:
      case 2: map_some(page, pages); break;
      case 3:
      case 4: {
        ASSERT_EQ(this->unmap(page, pages), 0);
        for (uint64_t p = page; p < page + pages; ++p) model_[p].reset();
        break;
      }
      case 5:
      case 6: protect_some(page, pages); break;
      case 7: advise_some(page, pages); break;
      case 8: move_some(page, pages); break;
      default: (void)this->write(page); break;
    }
    compare();
  }

  void map_some(uint64_t page, uint64_t pages) {
    const auto prot = static_cast<Prot>(below(4));
    const bool file = below(3) == 0;
    const Result<Address> done = this->map(page, pages, prot, MapFlags::none,
                                           file ? this->file_ : FileRef{}, file ? page : 0);
    ASSERT_TRUE(done);
    for (uint64_t p = page; p < page + pages; ++p) {
      model_[p] = Page{flags_from_prot(prot), file ? p : 0, file ? this->file_.get() : nullptr};
    }
  }

  void protect_some(uint64_t page, uint64_t pages) {
    const auto prot = static_cast<Prot>(below(4));
    uint64_t end = page;
    for (; end < page + pages && model_[end]; ++end) {
      model_[end]->flags = (model_[end]->flags & ~kAccessFlags) | flags_from_prot(prot);
    }
    EXPECT_EQ(this->protect(page, pages, prot), end == page + pages ? 0 : ENOMEM);
  }

  void advise_some(uint64_t page, uint64_t pages) {
    const bool set = below(2) == 0;
    bool hole = false;
    for (uint64_t p = page; p < page + pages; ++p) {
      hole = hole || !model_[p];
      if (!model_[p]) continue;
      model_[p]->flags &= ~VmaFlags(VmaFlag::dont_copy);
      if (set) model_[p]->flags |= VmaFlag::dont_copy;
    }
    EXPECT_EQ(this->advise(page, pages, set ? Advice::dontfork : Advice::dofork),
              hole ? ENOMEM : 0);
  }

  void move_some(uint64_t page, uint64_t pages) {
    const uint64_t to = below(kPages - pages + 1);
    const int64_t moved = this->move(page, pages, pages, to);
    if (to < page + pages && page < to + pages) {
      EXPECT_EQ(moved, -EINVAL);
    } else if (!model_[page]) {
      // The destination is looked at only once a mapping is found.
      EXPECT_EQ(moved, -EFAULT);
    } else {
      ASSERT_EQ(moved, static_cast<int64_t>(to));
      // Under every VMA that moves the destination is emptied first; under a hole nothing happens.
      for (uint64_t i = 0; i < pages; ++i) {
        if (model_[page + i]) std::swap(model_[to + i], model_[page + i]);
        if (model_[to + i]) model_[page + i].reset();
      }
    }
  }

  void compare() {
    ASSERT_EQ(this->space().check(), "");
    std::array<std::optional<Page>, kPages> seen{};
    for (const VmaInfo& v : this->space().vmas()) {
      for (Address a = v.range.start; a < v.range.end; a = a + kPageSize) {
        const uint64_t i = (a - v.range.start) >> kPageShift;
        ASSERT_LT(a, page_at(kPages));
        seen[a.page() - kBase.page()] =
            Page{v.flags & (kAccessFlags | VmaFlag::dont_copy), v.has_file ? v.page_offset + i : 0,
                 v.has_file ? this->file_.get() : nullptr};
      }
    }
    for (uint64_t p = 0; p < kPages; ++p) {
      ASSERT_EQ(seen[p].has_value(), model_[p].has_value()) << p;
      if (!seen[p]) continue;
      ASSERT_EQ(seen[p]->flags.bits(), model_[p]->flags.bits()) << p;
      ASSERT_EQ(seen[p]->offset, model_[p]->offset) << p;
      ASSERT_EQ(seen[p]->object, model_[p]->object) << p;
    }
  }
};
TYPED_TEST_SUITE(RandomOps, EveryDesign);

TYPED_TEST(RandomOps, every_page_shows_what_the_model_says) {
  for (int i = 0; i < 4000 && !this->HasFatalFailure(); ++i) {
    SCOPED_TRACE(i);
    this->step();
  }
}

}  // namespace
}  // namespace pervma::test

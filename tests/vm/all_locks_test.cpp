// Everything of a space at once, and page walkers that change entries.
#include <thread>
#include <vector>

#include "vm/all_locks.h"
#include "vm/support.h"

namespace pervma::test {
namespace {

class Nobody final : public PageNotifier {
 public:
  void invalidate_start(Range) noexcept override {}
  void invalidate_end(Range) noexcept override {}
};

template <class L>
class AllLocks : public SpaceTest<L> {
 protected:
  bool can_read(uint64_t page) { return this->space().try_read_vma(page_at(page)).has_value(); }
};
TYPED_TEST_SUITE(AllLocks, EveryDesign);

TYPED_TEST(AllLocks, no_vma_can_be_read_while_a_notifier_comes_or_goes) {
  this->build("aa.RRaa");
  int times = 0;
  this->mmu_.on_notifier = [&] {
    ++times;
    for (const uint64_t p : {0u, 3u, 5u}) EXPECT_FALSE(this->can_read(p));
    // The lists are locked too.
    std::thread([&] {
      auto* v = this->space().vma_at(page_at(0));
      EXPECT_FALSE(v->mappers()->lock().try_lock());
    }).join();
  };
  Nobody nobody;
  ASSERT_TRUE(this->space().add_notifier(nobody, {}));
  this->space().remove_notifier(nobody);
  EXPECT_EQ(times, 2);
  EXPECT_EQ(this->can_read(0), kLocksVmas<TypeParam>);
  EXPECT_TRUE(this->write(1));
  EXPECT_EQ(this->draw(), "aa.RRaa");
}

// R10: what the caller had write-locked stays so, whether all locks were had or a stop came
// between.
TYPED_TEST(AllLocks, the_end_of_all_locks_ends_no_write_lock_of_a_vma) {
  this->build("aa.RRaa");
  {
    auto& space = this->space();
    const MmapWrite write(space.mmap_lock());
    space.vma_at(page_at(0))->lock_write(space.mmap_lock());
    std::stop_source stop;
    stop.request_stop();
    space.with_all_locks({}, [] {});
    EXPECT_FALSE(this->can_read(0));
    EXPECT_FALSE(this->can_read(3));
    EXPECT_EQ(space.with_all_locks(stop.get_token(), [] {}), Error::intr);
    EXPECT_FALSE(this->can_read(0));
    EXPECT_TRUE(space.mmap_lock().is_held_for_write());
    // Nothing of the lists is left locked.
    for (const uint64_t p : {0u, 5u}) {
      Mappers* const list = space.vma_at(page_at(p))->mappers();
      EXPECT_EQ(list->taken_by(), nullptr);
      EXPECT_TRUE(list->lock().try_lock());
      list->lock().unlock();
    }
  }
  EXPECT_EQ(this->can_read(0), kLocksVmas<TypeParam>);
}

TYPED_TEST(AllLocks, a_stop_undoes_what_was_locked_of_the_lists) {
  if constexpr (kLocksVmas<TypeParam>) {
    this->build("aa.RRaa");
    std::optional<VmaRead> reader = this->space().try_read_vma(page_at(5));
    std::stop_source stop;
    Nobody nobody;
    this->mmu_.on_notifier = [] { ADD_FAILURE() << "not all locks were had"; };
    std::thread registrant([&] {
      EXPECT_EQ(this->error_of(this->space().add_notifier(nobody, stop.get_token())), EINTR);
    });
    // A writer that waits keeps new readers out, except under `count`.
    std::thread([&] {
      for (int i = 0; i < 300 && this->can_read(5); ++i) std::this_thread::yield();
    }).join();
    stop.request_stop();
    registrant.join();
    reader.reset();
    EXPECT_EQ(this->draw(), "aa.RRaa");
    EXPECT_TRUE(this->can_read(5));
  }
}

// Two spaces with a list in common, each taking all its locks again and again.
TYPED_TEST(AllLocks, spaces_of_one_family_take_all_locks_one_after_the_other) {
  this->build("aa.RRaa");
  FakeMmu mmu;
  TestSpace<TypeParam> child(this->context_, mmu, small_space(design_of<TypeParam>()));
  ASSERT_TRUE(child.copy_from(this->space(), {}));
  const auto work = [](AddressSpace& space) {
    Nobody nobody;
    for (int i = 0; i < 200; ++i) {
      EXPECT_TRUE(space.add_notifier(nobody));
      space.remove_notifier(nobody);
    }
  };
  std::thread other([&] { work(child); });
  work(this->space());
  other.join();
}

// R12: entries of a VMA are changed under its write lock, one VMA after the other.
TYPED_TEST(AllLocks, r12_a_walker_write_locks_each_vma_whose_entries_it_changes) {
  this->build("aa.RRaa");
  std::vector<Range> walked;
  this->mmu_.on_clear_written = [&](Range part) {
    walked.push_back(part);
    EXPECT_FALSE(this->can_read(part.start.page() - kBase.page()));
  };
  EXPECT_EQ(this->error_of(this->space().clear_written(page_at(0), bytes_of_pages(7), {})), ENOMEM);
  EXPECT_EQ(walked,
            (std::vector<Range>{
                {page_at(0), page_at(2)}, {page_at(3), page_at(5)}, {page_at(5), page_at(7)}}));
}

}  // namespace
}  // namespace pervma::test

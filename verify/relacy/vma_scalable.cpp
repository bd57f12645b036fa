// The design `scalable`: promotion, demotion, detach and reuse of a hot VMA.
#include "sync/vma_lock_scalable.h"

#include "vma_scenarios.h"

namespace pervma::verify {
namespace {

using L = BasicScalableLock<P>;

// A VMA that is hot when the threads start.
template <class Self, int kThreads, uint32_t kSlots = 2>
struct HotVma : VmaScenario<L, Self, kThreads> {
  HotVma() { g_cpu_slots = kSlots; }

  void before() {
    VmaScenario<L, Self, kThreads>::before();
    // The second of two readers inside finds the count it guessed wrong: a failed exchange.
    const auto first = L::begin_read(this->vma.near, this->vma.far, this->mm);
    const auto second = L::begin_read(this->vma.near, this->vma.far, this->mm);
    RL_ASSERT(first.outcome == ReadTry::locked && second.outcome == ReadTry::locked);
    RL_ASSERT(L::is_hot(this->vma.far));
    L::end_read(this->vma.far, second.token);
    L::end_read(this->vma.far, first.token);
  }
};

struct HotReaderAgainstWriter : HotVma<HotReaderAgainstWriter, 2> {
  void thread(unsigned i) {
    if (i == 0) {
      (void)try_read<L>(mm, vma);
    } else {
      write_hold<L>(mm, vma, 11);
    }
  }
};

struct HotReadersAgainstWriter : HotVma<HotReadersAgainstWriter, 3> {
  void thread(unsigned i) {
    if (i < 2) {
      (void)try_read<L>(mm, vma);
    } else {
      write_hold<L>(mm, vma, 11);
    }
  }
};

struct FourSlots : HotVma<FourSlots, 3, 4> {
  void thread(unsigned i) {
    if (i < 2) {
      (void)try_read<L>(mm, vma);
    } else {
      write_hold<L>(mm, vma, 11);
    }
  }
};

// Two readers, of whom one may make the VMA hot, beside the writer who must not miss the slots.
struct PromotionAgainstWriter : VmaScenario<L, PromotionAgainstWriter, 3> {
  PromotionAgainstWriter() { g_cpu_slots = 2; }
  void thread(unsigned i) {
    if (i == 2) {
      write_hold<L>(mm, vma, 11);
      return;
    }
    (void)try_read<L>(mm, vma);
    (void)try_read<L>(mm, vma);
  }
};

// One reader makes it hot and comes again by its slot.
struct PromotionThenSlot : VmaScenario<L, PromotionThenSlot, 2> {
  PromotionThenSlot() { g_cpu_slots = 2; }
  void before() {
    VmaScenario<L, PromotionThenSlot, 2>::before();
    vma.far.failures.store(0, std::memory_order_relaxed);
  }
  void thread(unsigned i) {
    if (i == 1) {
      write_hold<L>(mm, vma, 11);
      return;
    }
    (void)try_read<L>(mm, vma);
    (void)try_read<L>(mm, vma);
  }
};

// A promotion by a reader who was turned away, late, would give slots to a later hold's readers.
struct PromotionAgainstTwoHolds : VmaScenario<L, PromotionAgainstTwoHolds, 2> {
  PromotionAgainstTwoHolds() { g_cpu_slots = 2; }
  void thread(unsigned i) {
    if (i == 0) {
      (void)try_read<L>(mm, vma);
      (void)try_read<L>(mm, vma);
    } else {
      write_hold<L>(mm, vma, 11);
      write_hold<L>(mm, vma, 12);
    }
  }
};

// Who counts the readers of a VMA that becomes hot finds whole slots or none.
struct CountBesidePromotion : VmaScenario<L, CountBesidePromotion, 3> {
  CountBesidePromotion() { g_cpu_slots = 2; }
  void thread(unsigned i) {
    if (i < 2) {
      (void)try_read<L>(mm, vma);
      return;
    }
    const P::RcuRead rcu;
    RL_ASSERT(L::reader_count(vma.far) <= 2);
  }
};

// The first write finds the VMA used since it became hot, or not; the second demotes it.
struct Demotion : HotVma<Demotion, 2> {
  void thread(unsigned i) {
    if (i == 0) {
      (void)try_read<L>(mm, vma);
      (void)try_read<L>(mm, vma);
    } else {
      write_hold<L>(mm, vma, 11);
      write_hold<L>(mm, vma, 12);
    }
  }
};

struct HotDetachAndFree : HotVma<HotDetachAndFree, 2> {
  void thread(unsigned i) {
    if (i == 0) {
      (void)try_read<L>(mm, vma);
      return;
    }
    mm.lock_write();
    detach_and_free<L>(mm, vma);
    mm.unlock_write();
  }
};

struct HotReuseByAnotherSpace : HotVma<HotReuseByAnotherSpace, 2> {
  std::optional<Space> other{std::in_place};
  void thread(unsigned i) {
    if (i == 0) {
      const uint64_t seen = try_read<L>(mm, vma);
      RL_ASSERT(seen == 0 || seen == 10);
      return;
    }
    mm.lock_write();
    detach_and_free<L>(mm, vma);
    mm.unlock_write();
    other->lock_write();
    attach_new<L>(*other, vma, 20);
    other->unlock_write();
    other->lock_write();
    detach_and_free<L>(*other, vma);
    other->unlock_write();
    other.reset();
  }
};

// The reader is in the second slot: the writer that is stopped has excluded the first.
struct HotKillableAbort : HotVma<HotKillableAbort, 3> {
  RelacyStopSource stop;
  void thread(unsigned i) {
    if (i == 1) {
      (void)try_read<L>(mm, vma);
    } else if (i == 0) {
      mm.lock_write();
      if (L::lock_write(vma.near, vma.far, mm, stop.token())) vma.set(11);
      mm.unlock_write();
    } else {
      stop.request_stop();
    }
  }
  void after() {
    RL_ASSERT(try_read<L>(mm, vma) != 0);
    write_hold<L>(mm, vma, 12);
    RL_ASSERT(try_read<L>(mm, vma) == 12);
    VmaScenario<L, HotKillableAbort, 3>::after();
  }
};

}  // namespace
}  // namespace pervma::verify

int main(int argc, char** argv) {
  using namespace pervma::verify;
  constexpr Search kRandom = random_schedules(100'000);
  return Harness("vma_scalable")
      .add<HotReaderAgainstWriter>("hot_reader_against_writer", {bounded(3), kRandom})
      .add<HotReadersAgainstWriter>("hot_readers_against_writer", {bounded(1), kRandom})
      .add<FourSlots>("four_slots", {kRandom})
      .add<PromotionThenSlot>("promotion_then_slot", {bounded(2), kRandom})
      .add<PromotionAgainstWriter>("promotion_against_writer", {kRandom})
      .add<PromotionAgainstTwoHolds>("promotion_against_two_holds", {bounded(2), kRandom})
      .add<CountBesidePromotion>("count_beside_promotion", {bounded(2), kRandom})
      .add<Demotion>("demotion", {bounded(2), kRandom})
      .add<HotDetachAndFree>("hot_detach_and_free", {bounded(3), kRandom})
      .add<HotReuseByAnotherSpace>("hot_reuse_by_another_space", {bounded(2), kRandom})
      .add<HotKillableAbort>("hot_killable_abort", {bounded(1), kRandom})
      .add<ReaderAgainstWriter<L>>("reader_against_writer", {bounded(3), kRandom})
      .add<ReuseByAnotherSpace<L>>("reuse_by_another_space", {bounded(2), kRandom})
      .add<ReaderAgainstTwoWriters<L>>("reader_against_two_writers", {kRandom})
      .run(argc, argv);
}

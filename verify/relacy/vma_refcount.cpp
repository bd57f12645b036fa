// The default design, `refcount`.
#include "sync/vma_lock_refcount.h"

#include "vma_scenarios.h"

namespace pervma::verify {
namespace {

// Room for one more reader, and two of them.
struct FullUnderMmapLock : VmaScenario<BasicRefcountLock<P>, FullUnderMmapLock, 2> {
  using L = BasicRefcountLock<P>;
  void before() {
    VmaScenario::before();
    vma.far.vm_refcnt.store(L::kLimit - 1, std::memory_order_relaxed);
  }
  void thread(unsigned) {
    mm.lock_read();
    const auto attempt = L::start_read_locked(vma.near, vma.far, mm);
    RL_ASSERT(attempt.outcome != ReadTry::detached);
    mm.unlock_read();
  }
  void after() {
    RL_ASSERT(vma.far.vm_refcnt.latest() == L::kLimit);
    vma.far.vm_refcnt.store(1, std::memory_order_relaxed);
    VmaScenario::after();
  }
};

}  // namespace
}  // namespace pervma::verify

int main(int argc, char** argv) {
  using namespace pervma::verify;
  using L = pervma::BasicRefcountLock<P>;
  constexpr Search kRandom = random_schedules(100'000);
  return Harness("vma_refcount")
      .add<ReaderAgainstWriter<L>>("reader_against_writer", {bounded(5), kRandom})
      .add<Downgrade<L>>("downgrade", {bounded(5), kRandom})
      .add<DetachAndFree<L>>("detach_and_free", {bounded(4), kRandom})
      .add<ReuseByAnotherSpace<L>>("reuse_by_another_space", {bounded(3), kRandom})
      .add<ReuseInOneSpace<L>>("reuse_in_one_space", {bounded(4), kRandom})
      .add<ReadLockedUnderMmapLock<L>>("read_locked_under_mmap_lock", {bounded(3), kRandom})
      .add<DetachedUnderMmapLock<L>>("detached_under_mmap_lock", {bounded(3), kRandom})
      .add<FullUnderMmapLock>("full_under_mmap_lock", {bounded(3), kRandom})
      .add<KillableAbort<L>>("killable_abort", {bounded(2), kRandom})
      .add<SequenceWraps<L>>("sequence_wraps", {random_schedules(5'000)})
      .add<TwoReadersAgainstWriter<L>>("two_readers_against_writer", {bounded(2), kRandom})
      .add<ReaderAgainstTwoHolds<L>>("reader_against_two_holds", {bounded(1), kRandom})
      .add<ReaderAgainstTwoWriters<L>>("reader_against_two_writers", {bounded(1), kRandom})
      .run(argc, argv);
}

// The designs of the 2023 series: `rwsem`, whose scenarios begin with rwsem_, and `count`; and the
// words alone, `refcount`'s too.
#include "sync/vma_lock_word.h"
#include "vma_scenarios.h"
#include "word_scenarios.h"

int main(int argc, char** argv) {
  using namespace pervma::verify;
  using R = pervma::BasicRwsemLock<P>;
  using N = pervma::BasicCountLock<P>;
  constexpr Search kRandom = random_schedules(100'000);
  return Harness("vma_words")
      .add<ReaderAgainstWriter<R>>("rwsem_reader_against_writer", {bounded(4), kRandom})
      .add<TwoReadersAgainstWriter<R>>("rwsem_two_readers_against_writer", {bounded(1), kRandom})
      .add<ReaderAgainstTwoWriters<R>>("rwsem_reader_against_two_writers", {kRandom})
      .add<KillableAbort<R>>("rwsem_killable_abort", {bounded(1), kRandom})
      .add<DetachAndFree<R>>("rwsem_detach_and_free", {bounded(4), kRandom})
      .add<DetachedUnderMmapLock<R>>("rwsem_detached_under_mmap_lock", {bounded(3), kRandom})
      .add<ReuseByAnotherSpace<R>>("rwsem_reuse_by_another_space", {bounded(2), kRandom})
      .add<Downgrade<R>>("rwsem_downgrade", {bounded(4), kRandom})
      .add<ReaderAgainstWriter<N>>("count_reader_against_writer", {bounded(4), kRandom})
      .add<TwoReadersAgainstWriter<N>>("count_two_readers_against_writer", {bounded(1), kRandom})
      .add<ReaderAgainstTwoWriters<N>>("count_reader_against_two_writers", {kRandom})
      .add<KillableAbort<N>>("count_killable_abort", {bounded(1), kRandom})
      .add<DetachAndFree<N>>("count_detach_and_free", {bounded(4), kRandom})
      .add<DetachedUnderMmapLock<N>>("count_detached_under_mmap_lock", {bounded(3), kRandom})
      .add<ReuseByAnotherSpace<N>>("count_reuse_by_another_space", {bounded(2), kRandom})
      .add<Downgrade<N>>("count_downgrade", {bounded(4), kRandom})
      .add<WordAgainstWriter<pervma::BasicVmaRwsem<P>>>("rwsem_word_against_writer", {exhaustive()})
      .add<WordAgainstReuse<pervma::BasicVmaRwsem<P>>>("rwsem_word_against_reuse", {exhaustive()})
      .add<WordAgainstDetach<pervma::BasicVmaRwsem<P>>>("rwsem_word_against_detach", {exhaustive()})
      .add<WordAgainstStop<pervma::BasicVmaRwsem<P>>>("rwsem_word_against_stop", {exhaustive()})
      .add<WordAgainstWriter<pervma::BasicVmaCount<P>>>("count_word_against_writer", {exhaustive()})
      .add<WordAgainstReuse<pervma::BasicVmaCount<P>>>("count_word_against_reuse", {exhaustive()})
      .add<WordAgainstDetach<pervma::BasicVmaCount<P>>>("count_word_against_detach", {exhaustive()})
      .add<WordAgainstStop<pervma::BasicVmaCount<P>>>("count_word_against_stop", {exhaustive()})
      .add<WordAgainstWriter<RefcountWord>>("refcount_word_against_writer", {exhaustive()})
      .add<WordAgainstReuse<RefcountWord>>("refcount_word_against_reuse", {exhaustive()})
      .add<WordAgainstDetach<RefcountWord>>("refcount_word_against_detach", {exhaustive()})
      .add<WordAgainstStop<RefcountWord>>("refcount_word_against_stop", {exhaustive()})
      .run(argc, argv);
}

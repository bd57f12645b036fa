// Design `scalable`: a writer of a hot VMA is stopped while it waits for a reader, or too late for
// that: R18.
//
// mutants: hot_abort_restores hot_abort_restores_slots
// They remove the stopped writer's steps back, from the count word and from the slots before the
// one that it waited at.
#include "sync/vma_lock_scalable.h"

#include "scenarios.h"

using namespace pervma::litmus;

static Vma<pervma::BasicScalableLock<P>> vma;

int main() {
  attached_and_hot<vma>();
  run(
      [] {
        this_cpu = 1;  // The last slot: the writer has excluded the one before.
        (void)vma.try_read(mm);
      },
      [] { vma.write_hold_or_stop(mm, 11, {&stopped}); },
      [] { stopped.store(1, std::memory_order_relaxed); });
  get_in_again<vma>();
  return 0;
}

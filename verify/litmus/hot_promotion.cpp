// Design `scalable`: a reader makes a VMA hot and comes again by its slot, beside a writer.
//
// mutants: hot_writer_looks_after_drain hot_enter_alone hot_writer_drains_slots
// They make the writer look for slots before the count word is drained, and remove the acquire of a
// read lock on the count word and the writer's exclusion of slots.
#include "sync/vma_lock_scalable.h"

#include "scenarios.h"

using namespace pervma::litmus;
static Vma<pervma::BasicScalableLock<P>> vma;

int main() {
  attached<vma>();
  run(
      [] {
        read_twice_at_once(mm, vma);
        (void)vma.try_read(mm);
      },
      [] { vma.write_hold(mm, 11); });
  return 0;
}

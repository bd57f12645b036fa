// Design `scalable`: readers of a hot VMA, each by a slot of its own, and a writer.
//
// mutants: hot_reader_compares_seq hot_writer_drains_slots
// As in hot_reader_writer.cpp.
#include "sync/vma_lock_scalable.h"

#include "scenarios.h"

using namespace pervma::litmus;
static Vma<pervma::BasicScalableLock<P>> vma;

int main() {
  attached_and_hot<vma>();
  run(
      [] {
        this_cpu = 0;
        (void)vma.try_read(mm);
      },
      [] {
        this_cpu = 1;
        (void)vma.try_read(mm);
      },
      [] { vma.write_hold(mm, 11); });
  return 0;
}

// Design `scalable`: a writer finds a hot VMA unused and demotes it; a reader may still have its
// slots.
//
// mutants: hot_demoted_stay_closed hot_reader_compares_seq
// They open the slots of a demoted VMA, and remove the reader's comparison of sequences.
#include "sync/vma_lock_scalable.h"

#include "scenarios.h"

using namespace pervma::litmus;
static Vma<pervma::BasicScalableLock<P>> vma;

int main() {
  attached<vma>();
  make_hot(mm, vma);
  run([] { (void)vma.try_read(mm); },
      [] {
        vma.write_hold(mm, 11);
        vma.write_hold(mm, 12);
      });
  return 0;
}

// Design `scalable`: a reader makes a VMA hot; others find whole slots or none.
//
// mutants: hot_publish hot_read hot_count
// They remove the release of the slots' publication, the acquire of a reader's look for them, and
// that of one who counts readers.
#include "sync/vma_lock_scalable.h"

#include "scenarios.h"

using namespace pervma::litmus;
using L = pervma::BasicScalableLock<P>;
static Vma<L> vma;

int main() {
  attached<vma>();
  run([] { read_twice_at_once(mm, vma); },
      [] {
        this_cpu = 1;
        (void)vma.try_read(mm);
      },
      [] { assert(L::reader_count(vma.far) <= 3); });
  return 0;
}

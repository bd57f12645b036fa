// A reader, a writer of the VMA, and a later hold that leaves it alone: the reader may find the
// sequence of any of them.
//
// mutants: seq_begins seq_ends seq_compare
// They remove the releases at a hold's begin and end, and the acquire of the reader's comparison.
#include "sync/vma_lock_refcount.h"

#include "scenarios.h"

using namespace pervma::litmus;

static Vma<pervma::BasicRefcountLock<P>> vma;

int main() {
  attached<vma>();
  run([] { (void)vma.try_read(mm); }, [] { vma.write_hold(mm, 11); },
      [] {
        mm.lock_write();
        mm.unlock_write();
      });
  return 0;
}

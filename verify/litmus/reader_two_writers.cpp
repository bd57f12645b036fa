// A reader and two writers of a VMA, each in a hold of its own.
//
// mutants: vma_leave vma_exclude_ends vma_reader_compares_seq vma_writer_drains seq_ends
// They remove the release of a read unlock; the release with which a writer lets readers in again;
// the reader's comparison of sequences; a writer's wait; and the release at a hold's end.
#include "sync/vma_lock_refcount.h"

#include "scenarios.h"

using namespace pervma::litmus;

static Vma<pervma::BasicRefcountLock<P>> vma;

int main() {
  attached<vma>();
  run([] { (void)vma.try_read(mm); }, [] { vma.write_hold(mm, 11); },
      [] { vma.write_hold(mm, 12); });
  return 0;
}

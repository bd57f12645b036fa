// Design `scalable`: a reader of a hot VMA, by its slot, and a writer.
//
// mutants: hot_reader_compares_seq hot_writer_drains_slots
// mutants: vma_enter vma_leave vma_exclude vma_exclude_ends vma_drained vma_writer_drains
// They remove the reader's comparison of sequences; the writer's exclusion of slots; and, in a
// slot, what they remove in reader_writer.cpp.
#include "sync/vma_lock_scalable.h"
#include "vma.h"

using namespace pervma::litmus;

static Space mm;
static Vma<pervma::BasicScalableLock<P>> vma;

int main() {
  vma.make(mm, 10);
  make_hot(mm, vma);
  run(
      [](void*) -> void* {
        (void)vma.try_read(mm);
        return nullptr;
      },
      [](void*) -> void* {
        vma.write_hold(mm, 11);
        return nullptr;
      });
  return 0;
}

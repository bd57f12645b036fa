// Design `scalable`: readers of a hot VMA, each by a slot of its own, and a writer.
//
// mutants: hot_reader_compares_seq hot_writer_drains_slots
// As in hot_reader_writer.cpp.
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
        this_cpu = 0;
        (void)vma.try_read(mm);
        return nullptr;
      },
      [](void*) -> void* {
        this_cpu = 1;
        (void)vma.try_read(mm);
        return nullptr;
      },
      [](void*) -> void* {
        vma.write_hold(mm, 11);
        return nullptr;
      });
  return 0;
}

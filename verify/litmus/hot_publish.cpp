// Design `scalable`: a reader makes a VMA hot; others find whole slots or none.
//
// mutants: hot_publish hot_read hot_count
// They remove the release of the slots' publication, the acquire of a reader's look for them, and
// that of one who counts readers.
#include "sync/vma_lock_scalable.h"
#include "vma.h"

using namespace pervma::litmus;

static Space mm;
static Vma<pervma::BasicScalableLock<P>> vma;

int main() {
  vma.make(mm, 10);
  run(
      [](void*) -> void* {
        read_twice_at_once(mm, vma);
        return nullptr;
      },
      [](void*) -> void* {
        this_cpu = 1;
        (void)vma.try_read(mm);
        return nullptr;
      },
      [](void*) -> void* {
        assert(pervma::BasicScalableLock<P>::reader_count(vma.far) <= 3);
        return nullptr;
      });
  return 0;
}

// Design `scalable`: a hot VMA is detached and its memory becomes a VMA of another space.
//
// mutants: hot_detach_closes_slots hot_reader_compares_owner hot_enter_alone vma_attach
// They remove the detacher's closing of slots; the reader's comparison of spaces; the acquire of a
// read lock on the count word; and the release of attach.
#include "sync/vma_lock_scalable.h"
#include "vma.h"

using namespace pervma::litmus;

static Space mm;
static Space other;
static Vma<pervma::BasicScalableLock<P>> vma;

int main() {
  vma.make(mm, 10);
  make_hot(mm, vma);
  run(
      [](void*) -> void* {
        const uint64_t seen = vma.try_read(mm);
        assert(seen == 0 || seen == 10);
        return nullptr;
      },
      [](void*) -> void* {
        vma.pass(mm, other, 20);
        return nullptr;
      });
  return 0;
}

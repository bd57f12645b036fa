// Design `refcount`: a writer is stopped while it waits for a reader, or too late for that: R18.
//
// mutants: vma_abort_restores vma_leave vma_drained
// They remove the stopped writer's step back; the release of a read unlock; and the acquire that
// ends the writer's wait.
#include "sync/vma_lock_refcount.h"
#include "vma.h"

using namespace pervma::litmus;

static Space mm;
static std::atomic<uint32_t> stopped{0};
static Vma<pervma::BasicRefcountLock<P>> vma;

int main() {
  vma.make(mm, 10);
  run(
      [](void*) -> void* {
        (void)vma.try_read(mm);
        return nullptr;
      },
      [](void*) -> void* {
        vma.write_hold_or_stop(mm, 11, {&stopped});
        return nullptr;
      },
      [](void*) -> void* {
        stopped.store(1, std::memory_order_relaxed);
        return nullptr;
      });
  // Whether or not it was stopped, readers and the next writer get in.
  assert(vma.try_read(mm) != 0);
  vma.write_hold(mm, 12);
  assert(vma.try_read(mm) == 12);
  return 0;
}

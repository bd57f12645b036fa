// A VMA is read-locked under the mmap read lock, beside a hold that detaches it.
//
// mutants: vma_kept_refuses_detached vma_leave
// They remove the test for 0 before such a reader is counted, and the release of its unlock.
#include "sync/vma_lock_refcount.h"

#include "scenarios.h"

using namespace pervma::litmus;
using L = pervma::BasicRefcountLock<P>;

static Vma<L> vma;

int main() {
  attached<vma>();
  run(
      [] {
        mm.lock_read();
        const auto attempt = L::start_read_locked(vma.near, vma.far, mm);
        mm.unlock_read();
        if (attempt.outcome != pervma::ReadTry::locked) return;
        assert(vma.first == 10 && vma.second == 10);
        L::end_read(vma.far, attempt.token);
      },
      [] {
        mm.lock_write();
        vma.detach(mm);
        mm.unlock_write();
      });
  return 0;
}

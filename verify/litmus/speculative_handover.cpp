// Design `speculative`: the other space's hold began before it was given the memory, so that hold's
// fence says nothing of the first space's sequence.
//
// mutants: racy_store
// It removes the release with which fields are written.
#include "speculative_vma.h"

using namespace pervma::litmus;

static Space mm;
static Space other;
static std::atomic<uint32_t> free_memory{0};  // the allocator's order
static SpeculativeVma vma;

int main() {
  vma.make(mm, 10);
  run([] { vma.copy(mm, 10); },
      [] {
        mm.lock_write();
        vma.detach(mm);
        free_memory.store(1, std::memory_order_release);
        mm.unlock_write();
      },
      [] {
        other.lock_write();
        if (free_memory.load(std::memory_order_acquire) != 0) vma.attach(other, 20);
        other.unlock_write();
      });
  return 0;
}

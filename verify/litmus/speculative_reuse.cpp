// Design `speculative`: a VMA is detached and its memory becomes a VMA of another space, beside a
// reader of the first that validates its copy.
//
// mutants: spec_attached spec_attach spec_reader_looks_at_attached spec_reader_compares_owner
// mutants: seq_retry_fence seq_retry_compares
// They remove the acquire of the reader's look whether the VMA is attached, the release of attach,
// the reader's tests for being attached and for the space, the fence before the second look at the
// sequence, and that look.
#include "speculative_vma.h"

using namespace pervma::litmus;

static Space mm;
static Space other;
static SpeculativeVma vma;

int main() {
  vma.make(mm, 10);
  run([] { vma.copy(mm, 10); },
      [] {
        mm.lock_write();
        vma.detach(mm);
        mm.unlock_write();
        vma.make(other, 20);
      });
  return 0;
}

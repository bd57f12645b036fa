// A range of a RangeMap is retired beside two readers: nobody waits, and whoever leaves it last
// ends it.
//
// mutants: vma_last_out vma_retire vma_reader_ends_retired vma_leave
// They remove the acquire of the last one out; the acquire and release of retire; the last one
// out's knowing so; and the release of a read unlock.
#include "range.h"

using namespace pervma::litmus;

static RangeInMap range;

int main() {
  range.make(10);
  run([] { range.read(); }, [] { range.read(); }, [] { range.retire(); });
  assert(range.value == 0);
  return 0;
}

// A copy of a range without its lock, beside a writer.
//
// mutants: copy_open copy_fence copy_mark copy_compares_seq copy_compares_again
// They remove the fence before the writer's first store, the one before the second look at the
// mark, the acquire of the first look, the comparison with the map's sequence, and the second look.
#include "range.h"

using namespace pervma::litmus;

static RangeInMap range;

int main() {
  range.make(10);
  run([] { range.copy(); }, [] { range.write(20); });
  return 0;
}

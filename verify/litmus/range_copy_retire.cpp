// A copy of a range without its lock; the range is retired, and its memory comes back.
//
// mutants: copy_refuses_unmarked copy_compares_again
// They remove the test for a mark of no hold, and the second look at the mark.
#include "range.h"

using namespace pervma::litmus;

static RangeInMap range;

int main() {
  range.make(10);
  run([] { range.copy(); },
      [] {
        range.retire();
        range.make(20);
      });
  return 0;
}

// A copy of a range without its lock; the range goes, and its memory comes back.
//
// mutants: copy_refuses_detached copy_open copy_fence
// They remove the test for 0, and the fences.
#include "range.h"

using namespace pervma::litmus;

static RangeInMap range;

int main() {
  range.make(10);
  run([] { range.copy(); },
      [] {
        range.detach();
        range.make(20);
      });
  return 0;
}

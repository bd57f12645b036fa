// A copy of a range without its lock; the range goes, and its memory comes back.
//
// mutants: copy_refuses_detached copy_open copy_fence
// They remove the test for 0, and the fences.
#include "range.h"

using namespace pervma::litmus;

static RangeInMap range;

int main() {
  range.make(10);
  run(
      [](void*) -> void* {
        range.copy();
        return nullptr;
      },
      [](void*) -> void* {
        range.detach();
        range.make(20);
        return nullptr;
      });
  return 0;
}

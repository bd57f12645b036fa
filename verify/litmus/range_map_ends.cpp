// A RangeMap ends once the last reader of its last retired range has counted it out.
//
// mutants: range_counts_out range_all_out
// They remove the release and the acquire of that count.
#include "platform.h"
#include "range/retired_count.h"

using namespace pervma;

static BasicRetiredCount<LitmusPlatform> retired;
static int map = 1;

static constexpr auto reader = [] {
  assert(map == 1);
  retired.out();
};

static constexpr auto owner = [] {
  if (retired.all_out()) map = 0;
};

int main() {
  retired.in();
  litmus::run(reader, owner);
  return 0;
}

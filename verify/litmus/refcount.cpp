// Two holders of a counted object, and a stale pointer to it.
//
// mutants: ref_get ref_put ref_last_put ref_set ref_get_refuses_free ref_put_tells_last
// They remove the acquire of get, the release of put, the acquire of the last put, the release of
// set, the test for 0, and the test for having been the last.
#include "sync/refcount.h"

#include "platform.h"

using namespace pervma;

static BasicRefcount<LitmusPlatform> refs(1);
static int data = 10;

// A stale pointer: a reference is to one life of the object, whole.
static constexpr auto stale = [] {
  if (!refs.get()) return;
  assert(data == 10 || data == 20);
  if (refs.put()) data = 0;
};

static constexpr auto owner = [] {
  if (!refs.put()) return;
  data = 0;
  data = 20;
  refs.set(1);
};

int main() {
  litmus::run(stale, owner);
  return 0;
}

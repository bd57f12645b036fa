// Reference counts of memory that is reused: refcount.h.
#include "sync/refcount.h"

#include "harness.h"

namespace pervma::verify {
namespace {

using P = RelacyPlatform;
using Count = BasicRefcount<P>;

struct Object {
  Count refs{1};
  RelacyPlain<uint64_t> data{10};
};

// Two holders: whoever leaves last owns what both have touched.
struct LastPutFrees : Scenario<LastPutFrees, 2> {
  Count refs{2};
  RelacyPlain<uint64_t> seen_by[2];
  RelacyAtomic<uint32_t> frees{0};

  void thread(unsigned i) {
    seen_by[i] = 1;
    if (!refs.put()) return;
    frees.fetch_add(1, std::memory_order_relaxed);
    seen_by[0] = 2;
    seen_by[1] = 2;
  }
  void after() { RL_ASSERT(frees.latest() == 1 && refs.value() == 0); }
};

// A stale pointer to an object that is freed and lives again: a reference is to one life, whole.
struct StaleGet : Scenario<StaleGet, 2> {
  Object object;

  void thread(unsigned i) {
    if (i == 0) {
      if (!object.refs.get()) return;
      const uint64_t life = object.data;
      RL_ASSERT(life == 10 || life == 20);
      if (object.refs.put()) object.data = 0;
      return;
    }
    // The reader may have the last reference to the first life: then it frees, and the object
    // comes to life here only by what the free list orders, which is not this class's.
    if (!object.refs.put()) return;
    object.data = 0;
    object.data = 20;
    object.refs.set(1);
  }
};

// Held once more than can be counted: whatever comes and goes, nobody frees it.
struct Saturation : Scenario<Saturation, 2> {
  Count refs{Count::kLimit};

  void thread(unsigned) {
    RL_ASSERT(refs.get());
    RL_ASSERT(!refs.put());
  }
  void before() { RL_ASSERT(refs.get()); }
  void after() {
    RL_ASSERT(refs.is_saturated());
    RL_ASSERT(refs.get());
    RL_ASSERT(refs.is_saturated());
  }
};

}  // namespace
}  // namespace pervma::verify

int main(int argc, char** argv) {
  using namespace pervma::verify;
  return Harness("refcount")
      .add<LastPutFrees>("last_put_frees", {exhaustive()})
      .add<StaleGet>("stale_get", {exhaustive()})
      .add<Saturation>("saturation", {exhaustive()})
      .run(argc, argv);
}

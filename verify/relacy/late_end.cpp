// Things that somebody still makes known while they end: late_end.h.
#include "sync/late_end.h"

#include "harness.h"
#include "sync/refcount.h"

namespace pervma::verify {
namespace {

using P = RelacyPlatform;

struct List : BasicLateEnd<P> {
  BasicRefcount<P> refs{1};
  bool is_gone = false;  // No field of the protocol: the end is a moment, not an access.

  static void end(BasicLateEnd<P>* self) { static_cast<List*>(self)->is_gone = true; }
};

// A speculative fault has made sure that its VMA was there, and then gives a frame the list that
// the VMA is in; the VMA goes meanwhile, and with it the list. Somebody comes from the frame.
struct FoundWhileItEnds : Scenario<FoundWhileItEnds, 3> {
  List list;
  RelacyAtomic<uint32_t> unmapped{0};
  RelacyAtomic<List*> mappers{nullptr};

  void thread(unsigned i) {
    if (i == 0) {
      const P::RcuRead rcu;
      if (unmapped.load(std::memory_order_acquire) != 0) return;
      mappers.store(&list, std::memory_order_release);
      mappers.store(nullptr, std::memory_order_relaxed);
    } else if (i == 1) {
      unmapped.store(1, std::memory_order_release);
      if (list.refs.put()) list.begin(&List::end);
    } else {
      const P::RcuRead rcu;
      List* const found = mappers.load(std::memory_order_acquire);
      if (found == nullptr) return;
      RL_ASSERT(!found->is_gone);
      const bool held = found->refs.get();
      RL_ASSERT(!found->is_gone);
      if (held && found->refs.put()) found->begin(&List::end);
    }
  }
  void after() { RL_ASSERT(list.is_gone); }
};

}  // namespace
}  // namespace pervma::verify

int main(int argc, char** argv) {
  using namespace pervma::verify;
  return Harness("late_end")
      .add<FoundWhileItEnds>("found_while_it_ends", {bounded(4), random_schedules(100'000)})
      .run(argc, argv);
}

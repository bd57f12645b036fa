// The design `speculative`: nothing is locked; what was copied is validated before it is used.
#include "sync/vma_lock_speculative.h"

#include "harness.h"
#include "sync/mmap_lock_slow.h"
#include "sync/racy.h"

namespace pervma::verify {
namespace {

using P = RelacyPlatform;
using Space = BasicMmapLock<P>;
using L = BasicSpeculativeDesign<P>;

// The fields are read without a lock, as an address space's are.
template <class Self, int kThreads = 2>
struct SpeculativeScenario : Scenario<Self, kThreads> {
  Space mm;
  L::Near near;
  L::Far far;
  BasicRacy<P, uint64_t> first;
  BasicRacy<P, uint64_t> second;

  void set(uint64_t value) {
    first = value;
    second = value;
  }
  void attach(Space& space, uint64_t value) {
    (void)L::init(near, far, space);
    set(value);
    (void)L::lock_write(near, far, space);
    L::attach(near, far, space);
  }
  void detach(Space& space) {
    (void)L::lock_write(near, far, space);
    L::detach(near, far, space);
    first = ~uint64_t{0};
  }
  // What a validated copy says; 0 when there is none.
  uint64_t read() {
    const P::RcuRead rcu;
    const auto attempt = L::begin_read(near, far, mm);
    if (attempt.outcome != ReadTry::locked) return 0;
    const uint64_t a = first;
    const uint64_t b = second;
    if (!L::still_valid(near, mm, attempt.token)) return 0;
    RL_ASSERT(a == b);
    return a;
  }
  void before() {
    mm.lock_write();
    attach(mm, 10);
    mm.unlock_write();
  }
};

struct AgainstWriter : SpeculativeScenario<AgainstWriter> {
  void thread(unsigned i) {
    if (i == 0) {
      (void)read();
      return;
    }
    mm.lock_write();
    (void)L::lock_write(near, far, mm);
    set(11);
    mm.unlock_write();
  }
};

struct AgainstDetach : SpeculativeScenario<AgainstDetach> {
  void thread(unsigned i) {
    if (i == 0) {
      const uint64_t seen = read();
      RL_ASSERT(seen == 0 || seen == 10);
      return;
    }
    mm.lock_write();
    detach(mm);
    mm.unlock_write();
  }
};

struct AgainstReuse : SpeculativeScenario<AgainstReuse> {
  Space other;
  void thread(unsigned i) {
    if (i == 0) {
      const uint64_t seen = read();
      RL_ASSERT(seen == 0 || seen == 10);
      return;
    }
    mm.lock_write();
    detach(mm);
    mm.unlock_write();
    other.lock_write();
    attach(other, 20);
    other.unlock_write();
  }
};

// The same by a hold of the other space that began before it had the memory.
struct AgainstReuseByAnother : SpeculativeScenario<AgainstReuseByAnother, 3> {
  Space other;
  RelacyAtomic<uint32_t> free{0};  // the allocator's order
  void thread(unsigned i) {
    if (i == 0) {
      const uint64_t seen = read();
      RL_ASSERT(seen == 0 || seen == 10);
    } else if (i == 1) {
      mm.lock_write();
      detach(mm);
      free.store(1, std::memory_order_release);
      mm.unlock_write();
    } else {
      other.lock_write();
      if (free.load(std::memory_order_acquire) != 0) attach(other, 20);
      other.unlock_write();
    }
  }
};

// From here to another space and back.
struct AgainstReturn : SpeculativeScenario<AgainstReturn> {
  Space other;
  void thread(unsigned i) {
    if (i == 0) {
      const uint64_t seen = read();
      RL_ASSERT(seen == 0 || seen == 10 || seen == 30);
      return;
    }
    mm.lock_write();
    detach(mm);
    mm.unlock_write();
    other.lock_write();
    attach(other, 20);
    detach(other);
    other.unlock_write();
    mm.lock_write();
    attach(mm, 30);
    mm.unlock_write();
  }
};

}  // namespace
}  // namespace pervma::verify

int main(int argc, char** argv) {
  using namespace pervma::verify;
  constexpr Search kRandom = random_schedules(100'000);
  return Harness("vma_speculative")
      .add<AgainstWriter>("against_writer", {bounded(5), kRandom})
      .add<AgainstDetach>("against_detach", {bounded(5), kRandom})
      .add<AgainstReuse>("against_reuse", {bounded(3), kRandom})
      .add<AgainstReuseByAnother>("against_reuse_by_another", {bounded(2), kRandom})
      .add<AgainstReturn>("against_return", {bounded(2), kRandom})
      .run(argc, argv);
}

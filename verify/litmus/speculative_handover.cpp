// Design `speculative`: the other space's hold began before it was given the memory, so that hold's
// fence says nothing of the first space's sequence.
//
// mutants: racy_store
// It removes the release with which fields are written.
#include "sync/vma_lock_speculative.h"

#include "platform.h"
#include "sync/mmap_lock_slow.h"
#include "sync/racy.h"

using namespace pervma;
using P = LitmusPlatform;
using Lock = BasicSpeculativeDesign<P>;

static BasicMmapLock<P> mm;
static BasicMmapLock<P> other;
static std::atomic<uint32_t> free_memory{0};  // the allocator's order
static Lock::Near near;
static Lock::Far far;
static BasicRacy<P, uint64_t> first;
static BasicRacy<P, uint64_t> second;

static void attach(BasicMmapLock<P>& space, uint64_t value) {
  (void)Lock::init(near, far, space);
  first = value;
  second = value;
  (void)Lock::lock_write(near, far, space);
  Lock::attach(near, far, space);
}

static void detach() {
  (void)Lock::lock_write(near, far, mm);
  Lock::detach(near, far, mm);
  first = ~uint64_t{0};
}

static void* read(void*) {
  const auto attempt = Lock::begin_read(near, far, mm);
  if (attempt.outcome != ReadTry::locked) return nullptr;
  const uint64_t a = first;
  const uint64_t b = second;
  if (!Lock::still_valid(near, mm, attempt.token)) return nullptr;
  assert(a == 10 && b == 10);
  return nullptr;
}

static void* give(void*) {
  mm.lock_write();
  detach();
  free_memory.store(1, std::memory_order_release);
  mm.unlock_write();
  return nullptr;
}

static void* take(void*) {
  other.lock_write();
  if (free_memory.load(std::memory_order_acquire) != 0) attach(other, 20);
  other.unlock_write();
  return nullptr;
}

int main() {
  mm.lock_write();
  attach(mm, 10);
  mm.unlock_write();
  litmus::run(read, give, take);
  return 0;
}

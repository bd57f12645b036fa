// Design `speculative`: a VMA is detached and its memory becomes a VMA of another space, beside a
// reader of the first that validates its copy.
//
// mutants: spec_attached spec_attach spec_reader_looks_at_attached spec_reader_compares_owner
// mutants: seq_retry_fence seq_begin_fence seq_retry_compares
// They remove the acquire of the reader's look whether the VMA is attached, the release of attach,
// the reader's tests for being attached and for the space, either fence, and the second look at the
// sequence.
#include "sync/vma_lock_speculative.h"

#include "platform.h"
#include "sync/mmap_lock_slow.h"
#include "sync/racy.h"

using namespace pervma;
using P = LitmusPlatform;
using Lock = BasicSpeculativeDesign<P>;

static BasicMmapLock<P> mm;
static BasicMmapLock<P> other;
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

static void* pass(void*) {
  mm.lock_write();
  detach();
  mm.unlock_write();
  other.lock_write();
  attach(other, 20);
  other.unlock_write();
  return nullptr;
}

int main() {
  mm.lock_write();
  attach(mm, 10);
  mm.unlock_write();
  litmus::run(read, pass);
  return 0;
}

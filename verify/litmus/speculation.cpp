// A speculative reader beside a writer.
//
// mutants: seq_ends seq_speculate seq_begin_fence seq_retry_fence seq_speculate_refuses_odd
// mutants: seq_retry_compares
// They remove the release at a hold's end, the acquire with which a speculative read begins, either
// of the two fences, the test for a writer inside, and the second look at the sequence.
#include "platform.h"
#include "sync/mmap_lock_slow.h"

using namespace pervma;

static BasicMmapLock<LitmusPlatform> lock;
static std::atomic<int> first;
static std::atomic<int> second;

static constexpr auto writer = [] {
  lock.lock_write();
  first.store(1, std::memory_order_relaxed);
  second.store(1, std::memory_order_relaxed);
  lock.unlock_write();
};

static constexpr auto reader = [] {
  const auto seq = lock.speculate_try_begin();
  if (!seq) return;
  const int a = first.load(std::memory_order_relaxed);
  const int b = second.load(std::memory_order_relaxed);
  assert(lock.speculate_retry(*seq) || a == b);
};

int main() {
  litmus::run(reader, writer);
  return 0;
}

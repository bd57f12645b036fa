// A waiter for the mmap lock is stopped while it stands in the queue, or too late for that.
//
// mutants: mmap_cancel_sees_grant
// It removes the test whether the stop came too late, and the lock is the waiter's already.
#include "platform.h"
#include "sync/mmap_lock_slow.h"

using namespace pervma;

static BasicMmapLock<LitmusPlatform> lock;
static std::atomic<uint32_t> stopped{0};
static int first;
static int second;

static constexpr auto writer = [] {
  lock.lock_write();
  ++first;
  ++second;
  lock.unlock_write();
};

static constexpr auto may_give_up = [] {
  if (!lock.lock_write(LitmusStop{&stopped})) return;
  ++first;
  ++second;
  lock.unlock_write();
};

static constexpr auto stops_it = [] { stopped.store(1, std::memory_order_relaxed); };

int main() {
  litmus::run(writer, may_give_up, stops_it);
  assert(lock.try_lock_read());
  assert(first == second);
  lock.unlock_read();
  return 0;
}

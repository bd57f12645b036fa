// A reader that waits for the mmap lock is stopped beside the writer: who stands behind it is
// granted nothing yet.
//
// mutants: mmap_grant_waits_for_writer
// It removes the granting thread's test for a writer, before it lets readers in.
#include "platform.h"
#include "sync/mmap_lock_slow.h"

using namespace pervma;

static BasicMmapLock<LitmusPlatform> lock;
static std::atomic<uint32_t> stopped{0};
static int first;
static int second;

static constexpr auto writer = [] {
  lock.lock_write();
  stopped.store(1, std::memory_order_relaxed);
  ++first;
  ++second;
  lock.unlock_write();
};

static constexpr auto may_give_up = [] {
  if (lock.lock_read(LitmusStop{&stopped})) lock.unlock_read();
};

static constexpr auto reader = [] {
  lock.lock_read();
  assert(first == second);
  lock.unlock_read();
};

int main() {
  litmus::run(writer, may_give_up, reader);
  return 0;
}

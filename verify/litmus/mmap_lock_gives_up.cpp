// A waiter for the mmap lock is stopped while it stands in the queue, or too late for that.
//
// mutants: mmap_cancel_sees_grant
// It removes the test whether the stop came too late, and the lock is the waiter's already.
#include "guarded.h"

using namespace pervma::litmus;

static Guarded data;
static std::atomic<uint32_t> stopped{0};

int main() {
  run([] { data.write_hold(); },
      [] {
        if (!data.lock.lock_write(pervma::LitmusStop{&stopped})) return;
        data.write();
        data.lock.unlock_write();
      },
      [] { stopped.store(1, std::memory_order_relaxed); });
  // Nobody holds it.
  assert(data.lock.try_lock_read());
  data.read();
  data.lock.unlock_read();
  return 0;
}

// A reader that waits for the mmap lock is stopped beside the writer: who stands behind it is
// granted nothing yet.
//
// mutants: mmap_grant_waits_for_writer
// It removes the granting thread's test for a writer, before it lets readers in.
#include "guarded.h"

using namespace pervma::litmus;

static Guarded data;
static std::atomic<uint32_t> stopped{0};

int main() {
  run(
      [] {
        data.lock.lock_write();
        stopped.store(1, std::memory_order_relaxed);
        data.write();
        data.lock.unlock_write();
      },
      [] {
        if (data.lock.lock_read(pervma::LitmusStop{&stopped})) data.lock.unlock_read();
      },
      [] { data.read_hold(); });
  return 0;
}

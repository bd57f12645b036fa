// A reader and two writers of the mmap lock, through its queue.
//
// mutants: mmap_read mmap_write mmap_read_ends mmap_write_ends mmap_take_late
// mutants: mmap_granted mmap_sees_grant mmap_queue_lock mmap_queue_unlock mmap_no_overtaking
// They remove, one at a time, the acquires and releases of the lock, of its queue and of the grant,
// and the newcomer's test for a queue.
#include "platform.h"
#include "sync/mmap_lock_slow.h"

using namespace pervma;

static BasicMmapLock<LitmusPlatform> lock;
static int first;
static int second;

static constexpr auto writer = [] {
  lock.lock_write();
  ++first;
  ++second;
  lock.unlock_write();
};

static constexpr auto reader = [] {
  lock.lock_read();
  assert(first == second);
  lock.unlock_read();
};

int main() {
  litmus::run(reader, writer, writer);
  assert(first == 2 && second == 2);
  return 0;
}

// A reader and two writers of the mmap lock, through its queue.
//
// mutants: mmap_read mmap_write mmap_read_ends mmap_write_ends mmap_take_late mmap_grant
// mutants: mmap_granted mmap_sees_grant mmap_queue_lock mmap_queue_unlock
// mutants: mmap_no_overtaking mmap_grant_waits_for_holders
// They remove, one at a time, the acquires and releases of the lock, of its queue and of the grant,
// the newcomer's test for a queue, and the granting thread's test for holders.
#include "platform.h"
#include "sync/mmap_lock_slow.h"

using namespace pervma;

static BasicMmapLock<LitmusPlatform> lock;
static int first;
static int second;

static void* write(void*) {
  lock.lock_write();
  ++first;
  ++second;
  lock.unlock_write();
  return nullptr;
}

static void* read(void*) {
  lock.lock_read();
  assert(first == second);
  lock.unlock_read();
  return nullptr;
}

int main() {
  litmus::run(read, write, write);
  assert(first == 2 && second == 2);
  return 0;
}

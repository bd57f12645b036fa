// A reader and two writers of the mmap lock, through its queue.
//
// mutants: mmap_read mmap_write mmap_read_ends mmap_write_ends mmap_take_late
// mutants: mmap_granted mmap_sees_grant mmap_queue_lock mmap_queue_unlock mmap_no_overtaking
// They remove, one at a time, the acquires and releases of the lock, of its queue and of the grant,
// and the newcomer's test for a queue.
#include "guarded.h"

using namespace pervma::litmus;

static Guarded data;

int main() {
  run([] { data.read_hold(); }, [] { data.write_hold(); }, [] { data.write_hold(); });
  assert(data.first == 2 && data.second == 2);
  return 0;
}

// A writer of the mmap lock becomes a reader; another reader may join it, another writer waits.
//
// mutants: mmap_downgrade mmap_grant_waits_for_holders seq_ends_at_downgrade
// They remove the release of a downgrade; the granting thread's test for holders, before it lets a
// writer in; and the end of the hold's sequence at a downgrade.
#include "guarded.h"

using namespace pervma::litmus;

static Guarded data;

int main() {
  run(
      [] {
        data.lock.lock_write();
        data.write();
        data.lock.downgrade();
        data.read();
        data.lock.unlock_read();
      },
      [] { data.write_hold(); }, [] { data.read_hold(); });
  assert(data.first == 2 && data.second == 2);
  return 0;
}

// A writer of the mmap lock becomes a reader; another reader may join it, another writer waits.
//
// mutants: mmap_downgrade mmap_grant_waits_for_holders seq_ends_at_downgrade
// They remove the release of a downgrade; the granting thread's test for holders, before it lets a
// writer in; and the end of the hold's sequence at a downgrade.
#include "platform.h"
#include "sync/mmap_lock_slow.h"

using namespace pervma;

static BasicMmapLock<LitmusPlatform> lock;
static int first;
static int second;

static constexpr auto becomes_reader = [] {
  lock.lock_write();
  ++first;
  ++second;
  lock.downgrade();
  assert(first == second);
  lock.unlock_read();
};

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
  litmus::run(becomes_reader, writer, reader);
  assert(first == 2 && second == 2);
  return 0;
}

// Two readers and a writer of the mmap lock: the last reader out lets the writer in, which comes
// after the other reader too.
//
// mutants: mmap_grant mmap_read_ends mmap_write_sees_holders mmap_read_sees_writer
// They remove the acquire with which the granting thread looks at the holders; the release of a
// read unlock; and the tests of a writer for holders and of a reader for a writer.
#include "platform.h"
#include "sync/mmap_lock_slow.h"

using namespace pervma;

static BasicMmapLock<LitmusPlatform> lock;
static int first;
static int second;

static constexpr auto reader = [] {
  lock.lock_read();
  assert(first == second);
  lock.unlock_read();
};

static constexpr auto writer = [] {
  lock.lock_write();
  ++first;
  ++second;
  lock.unlock_write();
};

int main() {
  litmus::run(reader, reader, writer);
  return 0;
}

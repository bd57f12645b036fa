// Two readers and a writer of the mmap lock: the last reader out lets the writer in, which comes
// after the other reader too.
//
// mutants: mmap_grant mmap_read_ends mmap_write_sees_holders mmap_read_sees_writer
// They remove the acquire with which the granting thread looks at the holders; the release of a
// read unlock; and the tests of a writer for holders and of a reader for a writer.
#include "guarded.h"

using namespace pervma::litmus;

static Guarded data;

int main() {
  run([] { data.read_hold(); }, [] { data.read_hold(); }, [] { data.write_hold(); });
  return 0;
}

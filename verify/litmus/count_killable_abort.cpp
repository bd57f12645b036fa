// Design `count`: a writer is stopped while it waits for a reader, or too late for that: R18.
//
// mutants: count_leave count_take
// They remove the release of a read unlock, and the acquire of the writer. (Its step back after a
// stop is no mutant here: verify/mutants.txt.)
#include "sync/vma_lock_word.h"

#include "scenarios.h"

using namespace pervma::litmus;

static Vma<pervma::BasicCountLock<P>> vma;

int main() { return stopped_writer<vma>(); }

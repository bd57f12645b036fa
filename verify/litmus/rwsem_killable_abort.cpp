// Design `rwsem`: a writer is stopped while it waits for a reader, or too late for that: R18.
//
// mutants: rwsem_abort_restores rwsem_leave rwsem_drained
// They remove the stopped writer's step back; the release of a read unlock; and the acquire that
// ends the writer's wait.
#include "sync/vma_lock_word.h"

#include "scenarios.h"

using namespace pervma::litmus;

static Vma<pervma::BasicRwsemLock<P>> vma;

int main() { return stopped_writer<vma>(); }

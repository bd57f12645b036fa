// Design `refcount`: a writer is stopped while it waits for a reader, or too late for that: R18.
//
// mutants: vma_abort_restores vma_leave vma_drained
// They remove the stopped writer's step back; the release of a read unlock; and the acquire that
// ends the writer's wait.
#include "sync/vma_lock_refcount.h"

#include "scenarios.h"

using namespace pervma::litmus;

static Vma<pervma::BasicRefcountLock<P>> vma;

int main() { return stopped_writer<vma>(); }

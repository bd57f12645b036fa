// A VMA is detached and its memory becomes a VMA of another space, beside a reader with a stale
// pointer: R14, R16, R22, R23.
//
// mutants: vma_attach vma_detach vma_reader_refuses_detached vma_reader_compares_owner
// mutants: vma_detach_drains vma_detach_in_one_step
// They remove the release of attach; the acquire of a detach that found nobody inside; the reader's
// tests for 0 and for the space; the detacher's wait; and the exchange that is one.
#include "sync/vma_lock_refcount.h"

#include "scenarios.h"

using namespace pervma::litmus;

static Vma<pervma::BasicRefcountLock<P>> vma;

int main() { return reuse_by_another_space<vma>(); }

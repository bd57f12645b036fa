// One reader and one writer of a VMA: rule 1, and R6.
//
// mutants: vma_enter vma_leave vma_exclude vma_exclude_ends vma_drained
// mutants: vma_reader_refuses_exclude vma_reader_compares_seq vma_writer_drains
// mutants: vma_writer_marks_inside
// They remove the acquire of a read lock; the release of a read unlock; the acquire of a writer who
// found nobody inside; the release with which it lets readers in again; the acquire that ends its
// wait; the reader's tests for kExclude and for the sequence; the wait; and the mark's place.
#include "sync/vma_lock_refcount.h"

#include "scenarios.h"

using namespace pervma::litmus;

static Vma<pervma::BasicRefcountLock<P>> vma;

int main() { return reader_and_writer<vma>(); }

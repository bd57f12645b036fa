// Design `rwsem`: one reader and one writer of a VMA.
//
// mutants: rwsem_enter rwsem_leave rwsem_take rwsem_drained rwsem_admit
// mutants: rwsem_reader_refuses_writer rwsem_writer_drains
// mutants: word_reader_compares_seq
// They remove the acquire of a read lock; the release of a read unlock; the acquires of a writer
// who found nobody inside, and who waited; the release of its unlock; the reader's test for a
// writer; the writer's wait; and the reader's comparison of sequences.
#include "sync/vma_lock_word.h"

#include "scenarios.h"

using namespace pervma::litmus;

static Vma<pervma::BasicRwsemLock<P>> vma;

int main() { return reader_and_writer<vma>(); }

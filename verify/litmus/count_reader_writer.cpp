// Design `count`: one reader and one writer of a VMA.
//
// mutants: count_enter count_leave count_take count_admit count_reader_refuses_writer
// mutants: count_writer_drains word_reader_compares_seq
// They remove the acquire of a read lock; the release of a read unlock; the acquire and the release
// of the writer; the reader's test for a writer; the writer's wait; and the reader's comparison of
// sequences.
#include "sync/vma_lock_word.h"

#include "scenarios.h"

using namespace pervma::litmus;

static Vma<pervma::BasicCountLock<P>> vma;

int main() { return reader_and_writer<vma>(); }

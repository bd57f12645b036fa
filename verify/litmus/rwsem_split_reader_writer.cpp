// Design `rwsem_split`: `rwsem` with the word in an object of its own.
//
// mutants: rwsem_enter rwsem_leave rwsem_take rwsem_drained rwsem_admit word_reader_compares_seq
// As in rwsem_reader_writer.cpp.
#include "sync/vma_lock_word.h"

#include "scenarios.h"

using namespace pervma::litmus;

static Vma<pervma::BasicRwsemSplitLock<P>> vma;

int main() { return reader_and_writer<vma>(); }

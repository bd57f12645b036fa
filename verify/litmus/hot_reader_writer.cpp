// Design `scalable`: a reader of a hot VMA, by its slot, and a writer.
//
// mutants: hot_reader_compares_seq hot_writer_drains_slots
// mutants: vma_enter vma_leave vma_exclude vma_exclude_ends vma_drained vma_writer_drains
// They remove the reader's comparison of sequences; the writer's exclusion of slots; and, in a
// slot, what they remove in reader_writer.cpp.
#include "sync/vma_lock_scalable.h"

#include "scenarios.h"

using namespace pervma::litmus;

static Vma<pervma::BasicScalableLock<P>> vma;

int main() { return reader_and_writer<vma, attached_and_hot<vma>>(); }

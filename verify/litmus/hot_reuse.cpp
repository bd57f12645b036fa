// Design `scalable`: a hot VMA is detached and its memory becomes a VMA of another space.
//
// mutants: hot_detach_closes_slots hot_reader_compares_owner hot_enter_alone vma_attach
// They remove the detacher's closing of slots; the reader's comparison of spaces; the acquire of a
// read lock on the count word; and the release of attach.
#include "sync/vma_lock_scalable.h"

#include "scenarios.h"

using namespace pervma::litmus;

static Vma<pervma::BasicScalableLock<P>> vma;

int main() { return reuse_by_another_space<vma, attached_and_hot<vma>>(); }

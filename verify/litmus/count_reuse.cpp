// Design `count`: a VMA is detached and its memory becomes a VMA of another space.
//
// mutants: count_open count_enter count_leave count_detach_drains count_reader_refuses_detached
// mutants: word_reader_compares_owner
// They remove the release of attach; the acquire of a read lock; the release of a read unlock; the
// detacher's wait; the reader's test for a detached VMA; and its comparison of spaces.
#include "sync/vma_lock_word.h"

#include "scenarios.h"

using namespace pervma::litmus;

static Vma<pervma::BasicCountLock<P>> vma;

int main() { return reuse_by_another_space<vma>(); }

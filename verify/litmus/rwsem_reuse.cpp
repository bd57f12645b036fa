// Design `rwsem`: a VMA is detached and its memory becomes a VMA of another space.
//
// mutants: rwsem_open rwsem_enter rwsem_leave rwsem_detach_drains word_reader_compares_owner
// They remove the release of attach; the acquire of a read lock; the release of a read unlock; the
// detacher's wait; and the reader's comparison of spaces.
#include "sync/vma_lock_word.h"

#include "scenarios.h"

using namespace pervma::litmus;

static Vma<pervma::BasicRwsemLock<P>> vma;

int main() { return reuse_by_another_space<vma>(); }

// Design `rwsem_split`: `rwsem` with the word in an object of its own.
//
// mutants: rwsem_enter rwsem_leave rwsem_take rwsem_drained rwsem_admit word_reader_compares_seq
// As in rwsem_reader_writer.cpp.
#include "sync/vma_lock_word.h"
#include "vma.h"

using namespace pervma::litmus;

static Space mm;
static Vma<pervma::BasicRwsemSplitLock<P>> vma;

int main() {
  vma.make(mm, 10);
  run(
      [](void*) -> void* {
        (void)vma.try_read(mm);
        return nullptr;
      },
      [](void*) -> void* {
        vma.write_hold(mm, 11);
        return nullptr;
      });
  return 0;
}

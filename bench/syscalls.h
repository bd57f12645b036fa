// syscalls.h: mapping operations beside the system calls that they stand for, in one run.
#pragma once

#include "bench/options.h"

namespace pervma::bench {

// Rows, for the kernel's own calls (subject `kernel`) and every design, in a space of so many VMAs:
//   map+unmap   mmap of four pages and munmap of them, one operation
//   protect     mprotect of the middle of a mapping, there and back: cuts it, or joins it again
//   dontneed    madvise(MADV_DONTNEED) of a page and a store to it, one operation
//   remap       mremap of a touched page to another place, there and back
// One thread. Without the kernel's rows where it does not give so many VMAs.
BenchResult bench_syscalls(const BenchOptions&);

}  // namespace pervma::bench

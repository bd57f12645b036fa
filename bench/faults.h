// faults.h: page faults of the software MMU, and the kernel's own in this process.
#pragma once

#include "bench/options.h"

namespace pervma::bench {

// Rows: the limits, then, by the number of threads, every design and with `--peer kernel` real
// memory. One operation is one fault, under the VMA lock where the design has one, the frame's
// zeroing included; taking the pages away again is not measured. The space has as many other VMAs
// as asked for. Variants:
//   anon-write        the first store to a page
//   anon-read         the first load
//   write-after-read  the first store to a page that was loaded from
BenchResult bench_faults(const BenchOptions&);

}  // namespace pervma::bench

// faults.h: page faults of the software MMU, and the kernel's own in this process.
#pragma once

#include "bench/options.h"

namespace pervma::bench {

// Rows: the limits, then, by the number of threads, every design and with `--peer kernel` real
// memory. One operation is one fault, under the VMA lock where the design has one, the frame's
// zeroing included. Each thread touches its 256 pages one after the other, takes them away with one
// MADV_DONTNEED, and begins anew: a steady state, in which the frames go round. The space has as
// many other VMAs as asked for. Variants:
//   anon-write        the first store to a page
//   anon-read         the first load
//   write-after-read  the first store to a page that was loaded from
// Taking the pages away is not measured there, but in
//   write-and-drop    the first store to a page, and the page's part of MADV_DONTNEED
// and, of the designs only, one operation for 2 MiB:
//   collapse          MADV_COLLAPSE of 512 pages that were written
//   write-to-huge     the first store after the huge page lost its right to be written
BenchResult bench_faults(const BenchOptions&);

}  // namespace pervma::bench

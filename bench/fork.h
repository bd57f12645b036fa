// fork.h: duplicating a map with its pages, and the kernel's fork of the same map.
#pragma once

#include "bench/options.h"

namespace pervma::bench {

// Rows: the limits, then every design, and with `--peer kernel` a process of its own with the same
// map. One operation is one fork of as many VMAs as asked for, ten pages each, all written since
// the last fork. Writing them and the child's end are not measured.
BenchResult bench_fork(const BenchOptions&);

}  // namespace pervma::bench

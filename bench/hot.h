// hot.h: everybody reads one range: what the line costs that its lock writes.
#pragma once

#include "bench/options.h"

namespace pervma::bench {

// Rows: the limits, then every subject by the number of threads. The one range is among others.
BenchResult bench_hot(const BenchOptions&);

}  // namespace pervma::bench

// hot.h: everybody reads one range: what the line costs that its lock writes, and how long a writer
// of that range waits for its readers.
#pragma once

#include "bench/options.h"

namespace pervma::bench {

// Rows: the limits, then every subject by the number of threads. The one range is among others.
// Then `storm`, for the designs and each number of threads above one: readers, and one writer.
BenchResult bench_hot(const BenchOptions&);

}  // namespace pervma::bench

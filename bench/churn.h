// churn.h: what readers of a map notice of a writer who changes other parts of it at full speed,
// and how fast that writer is.
#pragma once

#include "bench/options.h"

namespace pervma::bench {

// Rows: the limits; then for each number of ranges and of readers every subject: readers without a
// writer (quiet), and readers and one writer that inserts and erases a range elsewhere or next
// door, in the gaps between the ranges that are read.
BenchResult bench_churn(const BenchOptions&);

}  // namespace pervma::bench

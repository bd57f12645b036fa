// free.h: what it costs to be rid of many VMAs at once: by munmap, and by the end of the process.
#pragma once

#include "bench/options.h"

namespace pervma::bench {

// Rows: the limits, then every design by the way it frees VMAs: its name alone is at once, their
// memory being type-stable; rwsem:rcu and the like after a grace period, one call each, or in
// batches (rcu_batched). Variants: munmap, exit: the call; and each until their memory can be
// used again (settled). One operation is one VMA. One thread; nobody reads.
BenchResult bench_free(const BenchOptions&);

}  // namespace pervma::bench

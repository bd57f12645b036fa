// design_subjects.h: address spaces of every design as subjects of the benchmarks.
#pragma once

#include <vector>

#include "bench/subject.h"
#include "pervma/design.h"

namespace pervma::bench {

// A space of the design, in an engine of its own, with room for `ranges` VMAs and some thousand
// more. A find is what a fault does first: the VMA read lock without the mmap lock, the mmap lock
// for read when that fails. Null: no memory.
SubjectPtr make_design_subject(Design, uint64_t ranges);

}  // namespace pervma::bench

// rangemap_subjects.h: RangeMap as a subject of the benchmarks.
#pragma once

#include <vector>

#include "bench/subject.h"

namespace pervma::bench {

// rangemap: find() keeps the range by a guard. rangemap:find_fast: a copy of range and value,
// without an atomic write. Writers are the same.
std::vector<SubjectMaker> rangemap_makers();

}  // namespace pervma::bench

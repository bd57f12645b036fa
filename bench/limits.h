// limits.h: what the machine itself costs, as subjects of the benchmarks.
#pragma once

#include "bench/subject.h"

namespace pervma::bench {

// limit:pair: an uncontended pair of atomic operations, on a line of each thread's own.
SubjectPtr make_limit_pair();
// limit:pair-shared: the pair on one line for all threads.
SubjectPtr make_limit_pair_shared();
// limit:rcu: a liburcu read section.
SubjectPtr make_limit_rcu();
// limit:walk: as many loads as pervma's tree of this layout has levels, each from an address that
// the one before gave, and one of the range itself; over nodes and ranges of the same number and
// size. Null: no memory.
SubjectPtr make_limit_walk(const Layout&);

}  // namespace pervma::bench

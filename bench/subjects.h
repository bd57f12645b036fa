// subjects.h: all subjects that one run compares.
#pragma once

#include <vector>

#include "bench/limits.h"
#include "bench/options.h"
#include "bench/subject.h"

namespace pervma::bench {

// The designs, RangeMap and, if asked for, the peers, with room for so many ranges.
std::vector<SubjectMaker> subject_makers(const BenchOptions&, uint64_t ranges);
// All of them, filled with the ranges of the layout. Empty: no memory,
// or one of them refused a range.
std::vector<SubjectPtr> make_subjects(const BenchOptions&, const Layout&);

// What the machine itself costs, as the first rows of a run.
class Limits {
 public:
  Limits();
  // limit:pair and limit:rcu by one thread, limit:pair-shared by two.
  void add_cases(std::vector<Case>&, const char* scenario) const;

 private:
  SubjectPtr pair_;
  SubjectPtr pair_shared_;
  SubjectPtr rcu_;
};

// What to print when memory is short.
std::string no_room_for(const char* scenario, uint64_t ranges);

}  // namespace pervma::bench

// schedule.h: a script laid out for N workers: which plays what, and for whom it waits.
//
// A recorded thread stays with one worker; a worker plays its operations in the order of the
// script. So an operation is done exactly when its worker has got beyond it, and one number per
// worker says how far it is.
#pragma once

#include <cstdint>
#include <vector>

#include "trace/dependencies.h"
#include "trace/script.h"

namespace pervma::trace {

struct Wait {
  uint32_t worker;
  uint32_t done;  // until that worker has done so many operations
};

struct WorkerPlan {
  struct Step {
    OpIndex op;
    uint32_t first_wait;  // into waits; up to the next step's
  };
  std::vector<Step> steps;
  std::vector<Wait> waits;
};

// Threads go to the worker with the least to do, in the order of their beginning.
std::vector<WorkerPlan> make_schedule(const Script&, const Dependencies&, uint32_t workers);

}  // namespace pervma::trace

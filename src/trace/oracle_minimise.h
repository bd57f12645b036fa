// oracle_minimise.h: makes of a recording with a difference the shortest scenario that has it.
//
// Every candidate is executed on the running kernel anew, so that its answers stay true. Where this
// kernel does not answer as the recording does, or does not let itself be asked, the recorded
// answer of the operation that differs is kept: its surroundings must then be as they were, pervma
// must answer as it did, and what comes before has the answers that both gave.
#pragma once

#include <string>

#include "trace/oracle_run.h"
#include "trace/oracle_shrink.h"

namespace pervma::trace {

enum class AnswersOf : uint8_t { running_kernel, recording };

struct Minimised {
  std::string text;  // a recording with one difference, at its last operation
  size_t operations = 0;
  uint32_t tries = 0;
  AnswersOf answers = AnswersOf::running_kernel;
};

// `recording` differs under the runner's design at operation `differs_at`.
Result<Minimised> minimise_recording(OracleRunner&, const OracleRecording& recording,
                                     uint32_t differs_at);

}  // namespace pervma::trace

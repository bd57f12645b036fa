// program.h: what the fuzzer makes of its bytes: a design, a world, and a list of operations, each
// with the allocation that fails in it. Prints itself as a scenario for `pervma oracle`.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fuzz/failing_allocation.h"
#include "trace/oracle_replica.h"

namespace pervma::test {

struct Step {
  trace::OracleOperation operation;
  uint32_t fails_after = kNever;  // allocations that succeed before one fails
  FailureLasts lasts = FailureLasts::once;
  static constexpr uint32_t kNever = ~uint32_t{0};
};

struct Program {
  Design design{};
  trace::OracleSetup setup;
  std::vector<Step> steps;

  // Any bytes are a program.
  static Program from_bytes(std::span<const uint8_t>);
  // As a scenario, whose answers are to be recorded: `pervma oracle FILE --record FILE`.
  std::string scenario() const;
};

// Executes programs, one after the other, in one engine.
class ProgramRunner {
 public:
  ProgramRunner();
  // Runs it with check() after each step. Empty: all is well; else what is wrong, and behind which
  // step.
  std::string run(const Program&);
  // What the programs so far did not give back. run() looks now and then.
  std::string leaks();

 private:
  unsigned runs_ = 0;
  unsigned refused_ = 0;  // steps that could not be asked for
  std::unique_ptr<Engine> engine_;
};

}  // namespace pervma::test

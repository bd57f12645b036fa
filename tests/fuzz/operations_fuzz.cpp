// The fuzz target on sequences of operations. PERVMA_FUZZ_PRINT=1 prints each program as a scenario
// before it runs: that is how an input becomes one.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "fuzz/program.h"

// The name and the signature are libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static pervma::test::ProgramRunner runner;
  static const bool prints = std::getenv("PERVMA_FUZZ_PRINT") != nullptr;
  const pervma::test::Program program = pervma::test::Program::from_bytes({data, size});
  if (prints) std::fputs(program.scenario().c_str(), stderr);
  const std::string wrong = runner.run(program);
  if (!wrong.empty()) {
    std::fprintf(stderr, "%s\nin the scenario\n%s", wrong.c_str(), program.scenario().c_str());
    std::abort();
  }
  return 0;
}

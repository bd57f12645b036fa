// oracle_run.h: executes a recording of the kernel's answers on a space of pervma's and compares.
//
// After each operation its answer is compared, and the VMAs of the neighbourhood that it or Linux's
// change names; where the recording has a full list, all of them. A recording ends at its first
// difference: what comes after it would differ for that reason alone. At the end every structure is
// checked, and the text of /proc/PID/maps is compared.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "trace/oracle_replica.h"

namespace pervma::trace {

struct OracleMismatch {
  uint32_t line = 0;
  uint32_t index = 0;                  // which operation
  std::string operation;               // as recorded, Linux's answer included
  std::string what;                    // one line: what pervma did instead
  std::vector<std::string> linux_map;  // both maps around the operation, one VMA a line
  std::vector<std::string> pervma_map;
};

struct OracleOutcome {
  uint64_t operations = 0;  // executed
  std::unique_ptr<OracleMismatch> mismatch;
};

class OracleRunner {
 public:
  // Many recordings can be run by one runner, one after the other.
  static Result<OracleRunner> create(Design, const ReplicaOptions& = {});
  [[nodiscard]] Result<OracleOutcome> run(const OracleRecording&);
  Engine& engine() noexcept { return *engine_; }
  Design design() const noexcept { return design_; }
  const ReplicaOptions& options() const noexcept { return options_; }

 private:
  OracleRunner(std::unique_ptr<Engine> engine, Design design, const ReplicaOptions& options)
      : engine_(std::move(engine)), design_(design), options_(options) {}

  std::unique_ptr<Engine> engine_;
  Design design_;
  ReplicaOptions options_;
};

// Brings a list of VMAs, as a recording shows it, up to date with what one operation changed.
// False: a VMA that goes was not there.
bool apply_oracle_change(const OracleRecording&, const OracleOp&, std::vector<OracleVma>& list);

// Everything that the operation or its recorded change names, and a page around; the whole window
// for calls without a range.
Range oracle_neighbourhood(const OracleRecording&, const OracleOp&, const OracleAnswer&);

}  // namespace pervma::trace

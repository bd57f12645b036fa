// oracle_run.h: executes a recording of the kernel's answers on a space of pervma's and compares.
//
// The world is the recorded one: everything but the window is occupied by mappings that never
// merge. After each operation its answer is compared, and the VMAs of the neighbourhood that it or
// Linux's change names; where the recording has a full list, all of them. A recording ends at its
// first difference: what comes after it would differ for that reason alone.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "pervma/pervma.h"
#include "trace/oracle_recording.h"

namespace pervma::trace {

struct OracleMismatch {
  uint32_t line = 0;
  std::string operation;               // as recorded, Linux's answer included
  std::string what;                    // one line: what pervma did instead
  std::vector<std::string> linux_map;  // both maps around the operation, one VMA a line
  std::vector<std::string> pervma_map;
};

struct OracleOutcome {
  uint64_t operations = 0;  // executed
  std::unique_ptr<OracleMismatch> mismatch;
};

// Makes a space as the recording's world has it. `options` brings the design and the limits.
class OracleWorld {
 public:
  static Result<OracleWorld> create(Engine&, Design, const OracleRecording&);

  AddressSpace& space() noexcept { return *spaces_.back(); }
  const FileRef& opening(uint8_t file) const noexcept { return openings_[file - 1u]; }
  // The space becomes its child; the parent stays as it is, waiting.
  Result<void> fork(Engine&);
  OracleBacking backing_of(const VmaInfo&);

 private:
  std::vector<std::unique_ptr<AddressSpace>> spaces_;
  std::vector<FileRef> openings_;
  std::vector<uint64_t>
      shared_;  // inodes of shared anonymous objects, in the order of their appearance
};

class OracleRunner {
 public:
  // Many recordings can be run by one runner, one after the other.
  static Result<OracleRunner> create(Design);
  [[nodiscard]] Result<OracleOutcome> run(const OracleRecording&);

 private:
  OracleRunner(std::unique_ptr<Engine> engine, Design design)
      : engine_(std::move(engine)), design_(design) {}

  std::unique_ptr<Engine> engine_;
  Design design_;
};

}  // namespace pervma::trace

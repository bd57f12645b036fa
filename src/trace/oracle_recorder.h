// oracle_recorder.h: makes an oracle recording on the kernel that this runs on: a child process
// turns all of its address space but a window into foreign mappings, executes operations in the
// window, and writes down each answer and what it did to the map, in the format of the recorded
// ones ("pervma-oracle 1").
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "pervma/error.h"
#include "trace/oracle_generator.h"
#include "trace/oracle_recording.h"

namespace pervma::trace {

struct LiveOptions {
  uint64_t seed = 1;
  uint32_t ops = 500;
  OracleShape shape = OracleShape::mixed;
};

struct LiveRecording {
  std::string text;                   // a whole recording
  std::vector<std::string> left_out;  // what could not be done here, and why
};

// A random sequence. Deterministic in its operations but for what the kernel answers. Error::perm
// when the kernel does not let a process arrange its address space so, or a sanitizer is built in;
// Error::io when the child ended early. Linux only.
[[nodiscard]] Result<LiveRecording> record_live(const LiveOptions&);

// The given operations, in a process set up so. Errors as above, and Error::opnotsupp when the
// kernel does not let it be set up so, or an operation could reach outside of the window.
[[nodiscard]] Result<LiveRecording> record_operations(const OracleSetup&,
                                                      std::span<const OracleOperation>);

// May the operation be executed for a recording: it can change nothing outside of the window?
bool is_safe_to_record(const OracleOperation&) noexcept;

}  // namespace pervma::trace

// oracle_recorder.h: makes an oracle recording on the kernel that this runs on: a child process
// turns all of its address space but a window into foreign mappings, executes a random sequence of
// operations in the window, and writes down each answer and what it did to the map, in the format
// of the recorded ones
// ("pervma-oracle 1").
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pervma/error.h"

namespace pervma::trace {

enum class OracleProfile : uint8_t {
  core,  // mapping, locking, advising, reading and writing
  ext,   // also mincore, mlockall, fork, mseal, guards, populate, remove, droppable
};

struct LiveOptions {
  uint64_t seed = 1;
  uint32_t ops = 500;
};

struct LiveRecording {
  std::string text;                   // a whole recording
  std::vector<std::string> left_out;  // what could not be done here, and why
};

// Deterministic in its operations but for what the kernel answers. Error::perm when the kernel does
// not let a process arrange its address space so; Error::io when the child ended early. Linux only.
[[nodiscard]] Result<LiveRecording> record_live(const LiveOptions&);

}  // namespace pervma::trace

// strace_reader.h: reads `strace -f -ttt` logs, as written with -o FILE or taken from its stderr.
//
// Read are the memory calls and those that make, replace or end a process; other calls are skipped.
// strace tells nothing of faults, of the mappings that an exec makes, or of locks; forks and execs
// are told by the results of their calls, so a child is known by the time its own lines begin.
#pragma once

#include <string_view>

#include "trace/input.h"
#include "trace/recording.h"

namespace pervma::trace {

// Whether a log that begins with this line is strace's.
[[nodiscard]] bool looks_like_strace(std::string_view first_line) noexcept;

// Reads on from `first`, the first line of `source`. Errors as read_perf(); a call that strace
// shows and that can change an address space, but is not one of Syscall, is an unknown system call.
[[nodiscard]] TraceResult<Recording> read_strace(LineSource& source, Line first);

}  // namespace pervma::trace

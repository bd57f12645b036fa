// perf_reader.h: reads the text that `perf script` prints for a recording made by the recorder.
//
// A line is "COMM PID/TID TIME: EVENT: FIELDS". COMM fills 16 columns from the right and may hold
// anything, so it is cut by column, not by spaces. Fields must stand exactly as perf prints them.
#pragma once

#include "trace/input.h"
#include "trace/recording.h"

namespace pervma::trace {

// Reads on from `first`, the first line of `source`. Errors name file and line: text that is not
// perf's, an event that is unknown, incomplete or malformed, an unknown system call, lost events,
// and what RecordingBuilder::add() refuses. A last line without newline is left out and noted.
[[nodiscard]] TraceResult<Recording> read_perf(LineSource& source, Line first);

}  // namespace pervma::trace

// replay.h: plays a recording on address spaces of one lock design with N workers, as concurrently
// as its dependencies allow, and compares every result.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pervma/design.h"
#include "trace/dependencies.h"
#include "trace/recording.h"
#include "trace/schedule.h"
#include "trace/stage.h"

namespace pervma::trace {

// A recording made ready: what does not depend on design or workers. Immutable.
struct Prepared {
  Recording recording;
  Script script;
  Dependencies dependencies;
};

[[nodiscard]] TraceResult<std::unique_ptr<Prepared>> prepare(const std::string& path);

// Latencies in nanoseconds; waiting included, time between operations not.
struct ReplayResult {
  uint64_t mismatch_count = 0;
  std::vector<Mismatch> mismatches;  // in the order of lines; a thousand at most per worker
  uint64_t events = 0;               // operations played
  uint64_t faults = 0;               // user faults among them
  uint64_t elapsed_ns = 0;
  std::vector<uint32_t> fault_ns;   // one per user fault
  std::vector<uint32_t> change_ns;  // one per call that changes the map
  FaultCounters fault_counters;
  LockCounters lock;
  PageCount frames;  // in use at the end

  double fallback_pct() const noexcept;
};

struct ReplayOptions {
  Design design = Design::refcount;
  uint32_t workers = 1;
  // Counts operations as they are done, for a progress bar; may be null.
  std::atomic<uint64_t>* progress = nullptr;
};

// Error::nomem when the engine cannot be made or a worker cannot be started.
[[nodiscard]] Result<ReplayResult> replay(const Prepared&, const ReplayOptions&);

}  // namespace pervma::trace

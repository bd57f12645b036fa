// torture.h: every operation of an address space by many threads at once, with what must hold as
// assertions. docs/torture.md says what is checked and why a finding is never a false alarm.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pervma/address_space.h"
#include "pervma/design.h"

namespace pervma::torture {

// A rule that is taken out on purpose, to see that the torture notices.
enum class Broken : uint8_t {
  nothing,
  read_lock,  // visitors look at a VMA without holding it
  data,       // owners forget one of their stores now and then
};

struct TortureOptions {
  Design design = Design::refcount;
  double seconds = 10;
  unsigned threads = 4;
  uint64_t seed = 1;
  Broken broken = Broken::nothing;
  double hang_seconds = 120;                  // without a single operation: a hang
  std::atomic<uint64_t>* progress = nullptr;  // operations done
  const std::atomic<bool>* stop = nullptr;    // true: end before the time is over
};

struct TortureResult {
  // The first violation with the last events of both sides; nothing: all was well.
  std::optional<std::string> violation;
  uint64_t rounds = 0;  // a space lives for one round
  uint64_t operations = 0;
  FaultCounters faults;
  LockCounters mmap_lock;
  // What was done how often, by name: operations with their outcomes, kills, splits, merges.
  std::map<std::string, uint64_t> counts;
};

TortureResult run_torture(const TortureOptions&);

}  // namespace pervma::torture

// oracle_shrink.h: the shortest list of operations that still shows something, and the simplest
// arguments that do.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "trace/oracle_operation.h"

namespace pervma::trace {

// Says at which of the operations it shows, or that it does not. Operations behind it are not
// needed.
using ShowsAt = std::function<std::optional<size_t>(std::span<const OracleOperation>)>;

enum class LastOperation : uint8_t { may_change, is_fixed };

struct ShrinkOptions {
  LastOperation last = LastOperation::may_change;
  uint32_t most_tries = 20'000;
};

struct Shrunk {
  std::vector<OracleOperation> operations;
  uint32_t tries = 0;
};

// Delta debugging: ever smaller runs of operations are left out, then arguments are made simpler
// one at a time, until nothing more can go. Nothing when it does not show in `operations`.
std::optional<Shrunk> shrink_operations(std::span<const OracleOperation> operations,
                                        const ShowsAt& shows_at, const ShrinkOptions& = {});

}  // namespace pervma::trace

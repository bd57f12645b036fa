// oracle_scribe.h: writes down what pervma itself answers, in the format of the recordings: for
// scenarios whose answers are pervma's, because nothing differs in them, or no kernel is at hand.
#pragma once

#include <string>
#include <vector>

#include "trace/oracle_replica.h"

namespace pervma::trace {

class OracleScribe {
 public:
  explicit OracleScribe(OracleReplica replica) noexcept : replica_(std::move(replica)) {}

  // Executes the operation and writes its lines.
  OracleAnswer operation(const OracleOperation&);
  OracleReplica& replica() noexcept { return replica_; }
  uint32_t count() const noexcept { return count_; }
  // The lines of operations so far, without head and end.
  const std::string& lines() const noexcept { return lines_; }

 private:
  OracleReplica replica_;
  uint32_t count_ = 0;
  std::string lines_;
  std::vector<OracleVma> before_;
  std::vector<OracleVma> after_;
};

// The lines of a recording that say how the list changed. `names`: to print backings by.
std::string oracle_changes(const std::vector<OracleVma>& before,
                           const std::vector<OracleVma>& after, const OracleRecording& names);

}  // namespace pervma::trace

// oracle_replica.h: pervma's side of a comparison: a space in the recorded world, which executes
// the operations of recordings.
//
// The world is the recorded one: everything but the window is occupied by mappings that never
// merge, and the files have the recorded bytes. Or the window is all there is, which makes no
// difference to what happens in it.
#pragma once

#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "pervma/pervma.h"
#include "trace/oracle_recording.h"

namespace pervma::trace {

struct ReplicaOptions {
  VmaFree vma_free = VmaFree::at_once;
  bool bare = false;     // The space ends where the window does, and nothing is outside.
  bool stopped = false;  // Each call is first made with a stop requested: nothing may change.
};

class OracleReplica {
 public:
  // `files`: what the recording's F lines name; the first is A, the second B.
  static Result<OracleReplica> create(Engine&, Design, const OracleSetup&,
                                      std::span<const OracleFile> files,
                                      const ReplicaOptions& = {});

  // Executes one operation. After a fork the space is the child; its parents wait.
  OracleAnswer execute(const OracleOperation&, const std::stop_token& = {});
  // Of the last mincore that was answered: a byte per page.
  std::span<const uint8_t> bits() const noexcept { return bits_; }

  AddressSpace& space() noexcept { return *spaces_.back(); }
  // The VMAs that meet the range, as a recording shows them. Shared anonymous objects are numbered
  // when they are first seen here.
  void vmas_in(Range, std::vector<OracleVma>& to);

 private:
  explicit OracleReplica(Engine& engine) noexcept : engine_(&engine) {}

  OracleAnswer map(const OracleOperation&, const std::stop_token&);
  OracleAnswer residency(const OracleOperation&, const std::stop_token&);
  OracleAnswer load(const OracleOperation&);
  OracleAnswer store(const OracleOperation&);
  OracleAnswer told(const OracleOperation&, const std::stop_token&);
  OracleAnswer fill(const OracleOperation&, const std::stop_token&);
  Result<void> open_user_faults();
  Result<void> cache_files(std::span<const OracleFile>);
  Result<void> fork(const std::stop_token&);
  OracleBacking backing_of(const FileIdentity*);

  Engine* engine_;
  std::vector<std::unique_ptr<AddressSpace>> spaces_;
  std::vector<std::unique_ptr<UserFaults>> user_faults_;  // one for each space, or none
  int64_t user_fault_kind_ = -1;                          // OracleSetup::user_faults
  std::vector<FileRef> openings_;
  std::vector<uint64_t> shared_;  // inodes of shared anonymous objects, as they appeared
  std::vector<uint8_t> bits_;
};

// The files of recordings that are made here.
std::span<const OracleFile> oracle_files();

}  // namespace pervma::trace

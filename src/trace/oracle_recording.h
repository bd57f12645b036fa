// oracle_recording.h: a recording of what the Linux kernel answered, in the format "pervma-oracle
// 1": operations on a window of 65,536 pages, each with its result and the change of the VMA list.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pervma/vma_info.h"
#include "trace/oracle_operation.h"
#include "trace/trace_error.h"

namespace pervma::trace {

// What a VMA shows, as an index: anonymous memory, a file of the recording, or the K-th shared
// anonymous object.
struct OracleBacking {
  static constexpr uint32_t kAnonymous = 0;
  static constexpr uint32_t kFirstFile = 1;
  static constexpr uint32_t kFirstShared = 1000;
  uint32_t index = kAnonymous;
  friend bool operator==(OracleBacking, OracleBacking) = default;
};

// A VMA as the recording prints it; pages count from the window's start.
struct OracleVma {
  uint64_t start = 0;
  uint64_t end = 0;
  VmaFlags flags;
  uint64_t offset = 0;  // pages; 0 for anonymous memory, whose offset the kernel does not show
  OracleBacking backing;
  UserFaultModes told{};  // which of its faults a userfaultfd is told
  friend bool operator==(const OracleVma&, const OracleVma&) = default;
};

// An operation and Linux's answer.
struct OracleOp : OracleOperation {
  OracleAnswer answer;
  uint32_t line = 0;
  uint32_t text = 0;  // where the line is in OracleRecording::text, and
  uint32_t text_size = 0;
  uint32_t bits = 0;  // of mincore: the same, of its digits
  uint32_t bits_size = 0;
  uint32_t gone_first = 0;  // in OracleRecording::gone
  uint32_t gone_count = 0;
  uint32_t new_first = 0;  // in OracleRecording::vmas
  uint32_t new_count = 0;
  uint32_t dump_first = 0;  // in OracleRecording::vmas, when has_dump
  uint32_t dump_count = 0;
  bool has_dump = false;
};

struct OracleFile {
  std::string name;
  uint64_t bytes = 0;
  uint8_t base = 0;  // what the pattern of its first bytes starts from
};

// What a process is given before the first operation.
struct OracleSetup {
  int64_t brk = -1;            // where the heap begins, a page; -1: brk is not used
  int64_t memlock = -1;        // RLIMIT_MEMLOCK, pages; -1: no limit
  int64_t address_space = -1;  // RLIMIT_AS, pages beyond what is mapped; -1: no limit
  int64_t user_faults = -1;  // -1: no userfaultfd; 1: with UFFD_FEATURE_WP_UNPOPULATED; 0: without
  int64_t maps = -1;         // VMAs that may still be added (vm.max_map_count); -1: enough
  friend bool operator==(const OracleSetup&, const OracleSetup&) = default;
};

struct OracleRecording {
  std::string path;
  OracleSetup setup;
  std::string kernel;  // what `uname -r` said, as far as the recording has it
  std::vector<OracleFile> files;
  std::vector<OracleOp> ops;
  std::vector<OracleVma> vmas;
  std::vector<uint64_t> gone;  // first pages
  std::string text;            // all of the file

  std::string_view text_of(const OracleOp& op) const noexcept {
    return std::string_view(text).substr(op.text, op.text_size);
  }
  std::string_view bits_of(const OracleOp& op) const noexcept {
    return std::string_view(text).substr(op.bits, op.bits_size);
  }
};

// Reads one file, plain or compressed. An error for everything that is not whole and known.
[[nodiscard]] TraceResult<OracleRecording> read_oracle_recording(const std::string& path);
// The same of a recording in memory, which errors call `name`.
[[nodiscard]] TraceResult<OracleRecording> parse_oracle_recording(std::string name,
                                                                  std::string text);

// The recordings that the paths name: files, or every *.trace[.gz|.xz|.zst] below a folder, sorted.
// A folder without any is an error.
[[nodiscard]] TraceResult<std::vector<std::string>> find_oracle_recordings(
    const std::vector<std::string>& paths);

// One VMA as the format prints it, without the sign in front.
std::string to_string(const OracleVma&, const OracleRecording&);
// The first lines of a recording, up to its first operation.
std::string oracle_head(const OracleSetup&, std::string_view header_fields);

}  // namespace pervma::trace

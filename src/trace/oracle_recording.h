// oracle_recording.h: a recording of what the Linux kernel answered, in the format "pervma-oracle
// 1": operations on a window of 65,536 pages, each with its result and the change of the VMA list.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pervma/mapping.h"
#include "pervma/vma_info.h"
#include "trace/trace_error.h"

namespace pervma::trace {

inline constexpr Address kOracleWindow{0x2000'0000'0000};
inline constexpr uint64_t kOracleWindowPages = 65536;

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
  friend bool operator==(const OracleVma&, const OracleVma&) = default;
};

enum class OracleCall : uint8_t {
  mmap,
  munmap,
  mprotect,
  madvise,
  mremap,
  mlock,
  mlock2,
  munlock,
  mlockall,
  munlockall,
  mseal,
  setname,
  brk,
  mincore,
  read,
  write,
  fork,
};

enum class OracleSignal : uint8_t { none, segv_maperr, segv_accerr, bus_adrerr };

// An operation and Linux's answer. Fields that the call does not have are zero.
struct OracleOp {
  OracleCall call{};
  uint32_t line = 0;
  uint32_t text = 0;  // where the line is in OracleRecording::text, and
  uint32_t text_size = 0;
  Address address{};
  uint64_t length = 0;
  uint64_t new_length = 0;
  Address new_address{};
  uint32_t prot = 0;
  uint32_t flags = 0;  // of mmap, mremap, mlock2, mlockall
  int32_t advice = 0;
  uint8_t file = 0;  // of mmap: 0, or the number of an OracleOpening plus 1
  uint64_t offset = 0;
  uint8_t byte = 0;  // to write, or that was read
  // The answer.
  int error = 0;
  OracleSignal signal = OracleSignal::none;
  Address place{};          // of mmap, mremap, brk
  std::string bits;         // of mincore
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

struct OracleRecording {
  std::string path;
  int64_t brk = -1;      // page, or -1
  int64_t memlock = -1;  // pages, or -1: no limit
  std::vector<OracleFile> files;
  std::vector<OracleOp> ops;
  std::vector<OracleVma> vmas;
  std::vector<uint64_t> gone;  // first pages
  std::string text;

  std::string_view text_of(const OracleOp& op) const noexcept {
    return std::string_view(text).substr(op.text, op.text_size);
  }
};

// The openings that a recording's mmap calls name.
enum class OracleOpening : uint8_t { a, b, a_read_only, a_again };
inline constexpr unsigned kOracleOpenings = 4;

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
// "EINVAL" for 22; the number for others.
std::string errno_text(int error);

}  // namespace pervma::trace

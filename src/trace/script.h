// script.h: a recording as a list of operations on address spaces, in the order in which they took
// effect, each with the result that the kernel gave. What is independent of lock designs and
// workers.
//
// An operation takes effect where its call first got the mmap lock for write; without that, where
// it was entered, or, for mappings at a new place in strace's text, which shows no locks, where it
// returned. A fault takes effect where it is recorded, a stack's growth where it got the lock
// for write.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pervma/address.h"
#include "pervma/mapping.h"
#include "trace/recording.h"

namespace pervma::trace {

using OpIndex = uint32_t;
using SpaceIndex = uint32_t;
inline constexpr OpIndex kNoOp = ~OpIndex{0};

enum class OpKind : uint8_t {
  user_fault,
  kernel_fault,
  map,
  unmap,
  protect,
  advise,
  remap,
  brk,
  lock,  // mlock, mlock2
  unlock,
  lock_all,
  unlock_all,
  seal,
  new_space,   // exec: an empty space
  exec_map,    // a mapping that exec made
  exec_unmap,  // what exec cut off a reservation
  exec_stack,
  fork,  // `other` becomes a copy of `space`
  exit,  // the last thread of the space ends
};

// How a recorded fault ended.
enum class FaultEnd : uint8_t {
  resolved,
  refused,  // the recorded protection, or a hole, refuses it
  either,   // another thread's call on its range was open: both may be right
};

// A mapping as a record shows it after merging.
struct SeenMapping {
  Range range;
  uint64_t pgoff = 0;  // pages
  uint64_t inode = 0;
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  Prot prot = Prot::none;
  Sharing sharing = Sharing::private_copy;
  uint32_t line = 0;
};

struct Op {
  OpKind kind = OpKind::user_fault;
  FaultEnd fault_end = FaultEnd::resolved;
  bool writes_map = false;  // changes VMAs: takes the mmap lock for write
  uint32_t line = 0;        // where a difference is reported
  ThreadIndex thread = 0;
  SpaceIndex space = 0;
  SpaceIndex other = 0;     // fork: the child's
  uint32_t file = 0;        // index into Script::files, 0: none
  uint32_t first_seen = 0;  // records that the operation must produce: Script::seen[first..]
  uint32_t seen_count = 0;
  uint32_t error_code = 0;  // faults
  Address address{};        // where it works (for map: the recorded result)
  uint64_t length = 0;      // bytes, as the call gave it
  uint64_t arg = 0;         // prot, advice, flags, new length: by kind
  uint64_t flags = 0;       // map and remap: flags to use
  uint64_t offset = 0;      // map: file offset; remap: old length; brk: the wanted break
  int64_t result = 0;       // as the kernel returned it

  // What the operation may change, for ordering; empty for whole-space operations.
  Range range() const noexcept;
};

// A file that mappings show, as the log names it.
struct ScriptFile {
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  uint64_t inode = 0;
  std::string name;
};

// One address space of the recording.
struct ScriptSpace {
  Address brk_start{};  // its first break
  Address brk_now{};    // while the script is made: the break so far
};

struct Script {
  std::vector<Op> ops;  // in the order of effect
  std::vector<SeenMapping> seen;
  std::vector<ScriptFile> files;  // [0] is unused
  std::vector<ScriptSpace> spaces;
  std::vector<ThreadIndex> threads_in_order;  // threads that have operations
  std::vector<std::string> notes;             // what could not be replayed, for the reader
  uint32_t thread_count = 0;
  uint64_t user_faults = 0;
};

// Fails when the recording holds something that cannot be right (an mmap without a file's record).
[[nodiscard]] TraceResult<Script> make_script(const Recording&);

}  // namespace pervma::trace

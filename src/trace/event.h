// event.h: one line of a recording, decoded: who, when, and what of the memory of a program.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <variant>

#include "pervma/address.h"
#include "trace/syscall.h"

namespace pervma::trace {

// A text of the recording (a thread's name, a mapped file), kept once; Recording::text() reads it.
struct NameId {
  uint32_t value = 0;  // 0 is the empty text.
  friend constexpr bool operator==(NameId, NameId) = default;
};

// Positions in Recording::events and Recording::threads.
using EventIndex = uint32_t;
using ThreadIndex = uint32_t;
inline constexpr EventIndex kNoEvent = std::numeric_limits<EventIndex>::max();
inline constexpr ThreadIndex kNoThread = std::numeric_limits<ThreadIndex>::max();

// Bits of a page fault's error_code.
namespace fault_code {
inline constexpr uint32_t kPresent = 1;  // The page was there: a protection fault.
inline constexpr uint32_t kWrite = 2;
inline constexpr uint32_t kUser = 4;
inline constexpr uint32_t kFetch = 16;
}  // namespace fault_code

struct UserFault {
  Address address;
  Address ip;
  uint32_t error_code = 0;
};

// A fault on a user address that the kernel took itself, inside a call; never under a VMA lock.
struct KernelFault {
  Address address;
  uint32_t error_code = 0;
  NameId ip;  // The kernel's function.
};

struct SyscallEnter {
  std::array<uint64_t, kMaxArgs> args{};  // As argument_names() orders them; the rest is 0.
  EventIndex exit = kNoEvent;  // kNoEvent: ends its thread, cut off by its death, or left open.
  Syscall call = Syscall::mmap;
};

struct SyscallExit {
  int64_t result = 0;           // An address, a number, or a negative errno.
  EventIndex enter = kNoEvent;  // kNoEvent: begun before the recording, or a new child's return.
  Syscall call = Syscall::mmap;
};

enum class Sharing : uint8_t { private_copy, shared };

// A mapping as it stands at that step, after merging.
struct Mmap2 {
  Range range;
  uint64_t pgoff = 0;  // In bytes, as the log has it.
  uint64_t inode = 0;
  uint64_t generation = 0;
  uint32_t dev_major = 0;
  uint32_t dev_minor = 0;
  NameId name;        // A path, or //anon [heap] [stack] [vdso] [vvar] ...
  uint32_t prot = 0;  // PROT_READ | PROT_WRITE | PROT_EXEC
  Sharing sharing = Sharing::private_copy;
};

enum class ChildSpace : uint8_t { copied, shared, unknown };

// A new thread (child_pid == parent_pid) or process.
struct Fork {
  int32_t child_pid = 0;
  int32_t child_tid = 0;
  int32_t parent_pid = 0;
  int32_t parent_tid = 0;
  ThreadIndex child = kNoThread;
  // `shared`: a thread, or a vfork's child until its exec. Told by the flags of the call; clone3's
  // are not recorded by perf, there it is told by whether the call locked a second space.
  ChildSpace space = ChildSpace::unknown;
};

struct Exit {
  int32_t parent_pid = 0;
  int32_t parent_tid = 0;
};

// A successful exec: the process has a new address space from here, and this thread only.
struct CommExec {
  NameId name;
};

struct Comm {
  NameId name;
};

enum class LockMode : uint8_t { read, write };
enum class LockOutcome : uint8_t { acquired, failed };

// The kernel took (or, by a try, did not get) its mmap lock of a space.
struct MmapLockAcquired {
  uint64_t mm = 0;  // Which space: the kernel's address of it.
  LockMode mode = LockMode::read;
  LockOutcome outcome = LockOutcome::acquired;
};

using EventBody = std::variant<UserFault, KernelFault, SyscallEnter, SyscallExit, Mmap2, Fork, Exit,
                               CommExec, Comm, MmapLockAcquired>;

struct Event {
  uint64_t time_ns = 0;
  uint32_t line = 0;  // In the recording's text.
  int32_t pid = 0;
  int32_t tid = 0;
  NameId comm;
  ThreadIndex thread = kNoThread;  // Unlike a tid never used twice.
  EventIndex call = kNoEvent;      // The enter of the call in which the thread was, if in one.
  EventBody body;

  template <class T>
  const T* as() const noexcept {
    return std::get_if<T>(&body);
  }
  template <class T>
  T* as() noexcept {
    return std::get_if<T>(&body);
  }
};

static_assert(sizeof(Event) <= 104 && std::is_trivially_copyable_v<Event>);

}  // namespace pervma::trace

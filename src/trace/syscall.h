// syscall.h: the system calls that a recording holds, with the names of their arguments.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace pervma::trace {

enum class Syscall : uint8_t {
  mmap,
  munmap,
  mprotect,
  pkey_mprotect,
  madvise,
  mremap,
  brk,
  mlock,
  mlock2,
  munlock,
  mlockall,
  munlockall,
  mseal,
  clone,
  clone3,
  fork,
  vfork,
  execve,
  exit,
  exit_group,
};

inline constexpr size_t kSyscallCount = static_cast<size_t>(Syscall::exit_group) + 1;
inline constexpr size_t kMaxArgs = 6;

// "mmap"; never empty.
std::string_view syscall_name(Syscall) noexcept;

// The call of that name, or nothing.
std::optional<Syscall> find_syscall(std::string_view name) noexcept;

// The names under which perf prints the arguments, in the order of SyscallEnter::args:
//
//   mmap           addr len prot flags fd off
//   munmap         addr len
//   mprotect       start len prot
//   pkey_mprotect  start len prot pkey
//   madvise        start len_in behavior
//   mremap         addr old_len new_len flags new_addr
//   brk            brk
//   mlock, munlock start len
//   mlock2, mseal  start len flags
//   mlockall       flags
//   clone          clone_flags newsp parent_tidptr child_tidptr tls
//   clone3         uargs size
//   execve         filename argv envp
//   exit, exit_group  error_code
//   munlockall, fork, vfork  none
std::span<const std::string_view> argument_names(Syscall) noexcept;

// The calls that end their thread: they are entered and never left.
constexpr bool never_returns(Syscall call) noexcept {
  return call == Syscall::exit || call == Syscall::exit_group;
}

constexpr bool makes_a_child(Syscall call) noexcept {
  return call == Syscall::clone || call == Syscall::clone3 || call == Syscall::fork ||
         call == Syscall::vfork;
}

}  // namespace pervma::trace

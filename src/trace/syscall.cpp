#include "trace/syscall.h"

namespace pervma::trace {
namespace {

struct Description {
  std::string_view name;
  std::array<std::string_view, kMaxArgs> args;
};

constexpr std::array<Description, kSyscallCount> kCalls{{
    {"mmap", {"addr", "len", "prot", "flags", "fd", "off"}},
    {"munmap", {"addr", "len"}},
    {"mprotect", {"start", "len", "prot"}},
    {"pkey_mprotect", {"start", "len", "prot", "pkey"}},
    {"madvise", {"start", "len_in", "behavior"}},
    {"mremap", {"addr", "old_len", "new_len", "flags", "new_addr"}},
    {"brk", {"brk"}},
    {"mlock", {"start", "len"}},
    {"mlock2", {"start", "len", "flags"}},
    {"munlock", {"start", "len"}},
    {"mlockall", {"flags"}},
    {"munlockall", {}},
    {"mseal", {"start", "len", "flags"}},
    {"clone", {"clone_flags", "newsp", "parent_tidptr", "child_tidptr", "tls"}},
    {"clone3", {"uargs", "size"}},
    {"fork", {}},
    {"vfork", {}},
    {"execve", {"filename", "argv", "envp"}},
    {"exit", {"error_code"}},
    {"exit_group", {"error_code"}},
}};

}  // namespace

std::string_view syscall_name(Syscall call) noexcept {
  return kCalls[static_cast<size_t>(call)].name;
}

std::optional<Syscall> find_syscall(std::string_view name) noexcept {
  for (size_t i = 0; i < kCalls.size(); ++i) {
    if (kCalls[i].name == name) return static_cast<Syscall>(i);
  }
  return std::nullopt;
}

std::span<const std::string_view> argument_names(Syscall call) noexcept {
  const auto& args = kCalls[static_cast<size_t>(call)].args;
  size_t n = 0;
  while (n < args.size() && !args[n].empty()) ++n;
  return {args.data(), n};
}

}  // namespace pervma::trace

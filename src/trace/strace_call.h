// strace_call.h: one system call as strace prints it, "NAME(ARGUMENTS) = RESULT", taken apart.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "trace/syscall.h"

namespace pervma::trace {

struct StraceCall {
  Syscall call = Syscall::mmap;
  std::array<uint64_t, kMaxArgs> args{};  // As perf would print them; pointers to texts are 0.
  uint64_t clone_flags = 0;               // Of clone and clone3.
  bool whole = false;                     // Its closing bracket and its result are there.
  std::optional<int64_t> result;          // Nothing: not whole, or it never returned ("?").
  std::string program;                    // Of execve: the last part of the path.
};

// What pervma has to do with a call of that name.
enum class CallUse : uint8_t {
  read,     // find_strace_call() knows it.
  ignored,  // It cannot change an address space.
  unknown,  // It can, and pervma does not know it.
};

CallUse use_of(std::string_view name) noexcept;
std::optional<Syscall> find_strace_call(std::string_view name) noexcept;

// Takes "NAME(ARGUMENTS) = RESULT" apart, or "NAME(ARGUMENTS" of a call that has not returned. The
// name must be one to `read`. The error says what is malformed.
[[nodiscard]] std::expected<StraceCall, std::string> parse_strace_call(std::string_view text);

// "= 0x7f..", "= 0", "= -1 ENOMEM (...)", "= ? ERESTARTSYS (...)"; no value for "= ?".
[[nodiscard]] std::expected<std::optional<int64_t>, std::string> parse_strace_result(
    std::string_view text);

}  // namespace pervma::trace

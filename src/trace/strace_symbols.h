// strace_symbols.h: the names that strace prints for flags and errors, turned back to numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace pervma::trace {

enum class SymbolSet : uint8_t { prot, map, mremap, advice, mlock2, mlockall, clone };

// "PROT_READ|0x10", "MADV_DONTNEED", "21<<MAP_HUGE_SHIFT", "0x3039 /* MADV_??? */", "NULL", "-1"
// (as perf prints it: 32 bits); nothing where a name is not of the set or a number is malformed.
std::optional<uint64_t> decode_symbols(SymbolSet set, std::string_view text) noexcept;

// A plain number or address: "NULL", "0x7f..", "42", "-1" (32 bits), "3</dev/null>".
std::optional<uint64_t> decode_number(std::string_view text) noexcept;

// "ENOMEM" -> 12, the kernel's own restart codes included.
std::optional<int> decode_errno(std::string_view name) noexcept;

}  // namespace pervma::trace

// trace_error.h: why a recording cannot be read, as one line "FILE:LINE: MESSAGE".
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace pervma::trace {

struct TraceError {
  std::string file;
  uint64_t line = 0;  // From 1; 0 where no line is to blame (the file cannot be opened).
  std::string message;

  // "FILE:LINE: MESSAGE", or "FILE: MESSAGE" without a line. Holds no newline if the parts hold
  // none.
  std::string to_string() const {
    std::string out = file + ":";
    if (line != 0) out += std::to_string(line) + ":";
    return out + " " + message;
  }
};

template <class T>
using TraceResult = std::expected<T, TraceError>;

// Part of a line fit to stand inside an error message: at most 60 bytes, nothing unprintable.
inline std::string excerpt(std::string_view text) {
  constexpr size_t kMost = 60;
  std::string out;
  for (const char c : text.substr(0, kMost)) out += (c >= ' ' && c < '\x7f') ? c : '?';
  if (text.size() > kMost) out += "...";
  return out;
}

}  // namespace pervma::trace

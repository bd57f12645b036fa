// input.h: the lines of a recording, one after the other, with their numbers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "trace/byte_source.h"
#include "trace/trace_error.h"

namespace pervma::trace {

enum class LineEnd : uint8_t { newline, end_of_file };

struct Line {
  std::string_view text;  // Without its newline; valid until the next call of next().
  uint32_t number = 0;    // From 1.
  LineEnd end = LineEnd::newline;
};

// Opens a file, plain or compressed (see open_bytes), and cuts it into lines. A line longer than
// kLongestLine is an error, so memory stays constant even on a file that has no newlines.
class LineSource {
 public:
  static constexpr size_t kLongestLine = size_t{1} << 20;

  [[nodiscard]] static TraceResult<LineSource> open(std::string path);
  // The lines of a text in memory, plain, which is called `name` in errors.
  [[nodiscard]] static LineSource of_text(std::string name, std::string text);

  // The next line, or nothing at the end of the file.
  [[nodiscard]] TraceResult<std::optional<Line>> next();

  const std::string& path() const noexcept { return path_; }
  uint32_t lines_read() const noexcept { return lines_read_; }

  // An error about the line read last.
  TraceError error(std::string message) const { return {path_, lines_read_, std::move(message)}; }

 private:
  LineSource(std::string path, std::unique_ptr<ByteSource> bytes);
  TraceResult<bool> read_more();  // False at the end of the file.

  std::string path_;
  std::unique_ptr<ByteSource> bytes_;
  std::vector<char> buffer_;  // [begin_, end_) is read and not yet handed out.
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t searched_ = 0;  // No newline in [begin_, searched_).
  uint32_t lines_read_ = 0;
};

}  // namespace pervma::trace

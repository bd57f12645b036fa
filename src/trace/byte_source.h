// byte_source.h: the bytes of a recording, decompressed. One file is read from start to end; what
// it is compressed with is told by its first bytes. Memory stays constant whatever the file's size.
#pragma once

#include <cstddef>
#include <expected>
#include <memory>
#include <span>
#include <string>

namespace pervma::trace {

class ByteSource {
 public:
  virtual ~ByteSource() = default;

  // Fills a part of `out` (never empty) and returns how much; 0 at the end. An error says what is
  // wrong with the file: unreadable, corrupt, or cut off before its compressed stream ends.
  [[nodiscard]] virtual std::expected<size_t, std::string> read(std::span<char> out) = 0;
};

// Opens `path` ("-" is standard input): plain bytes, or xz, zstd or gzip streams, one or several in
// a row. Nothing of the content is checked yet, so corruption shows at read().
[[nodiscard]] std::expected<std::unique_ptr<ByteSource>, std::string> open_bytes(
    const std::string& path);

}  // namespace pervma::trace

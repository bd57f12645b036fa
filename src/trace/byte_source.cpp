#include "trace/byte_source.h"

#include <fcntl.h>
#include <lzma.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace pervma::trace {
namespace {

using namespace std::literals;
using ReadResult = std::expected<size_t, std::string>;

constexpr size_t kInputBytes = size_t{64} << 10;

std::string errno_text(std::string_view what, int number) {
  return std::string(what) + ": " + std::strerror(number);
}

// A file descriptor read in blocks. take() hands out what is buffered, refilling when empty.
class FileInput {
 public:
  explicit FileInput(int fd)
      : fd_(fd), buffer_(std::make_unique_for_overwrite<char[]>(kInputBytes)) {}
  FileInput(FileInput&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)),
        buffer_(std::move(other.buffer_)),
        data_(std::exchange(other.data_, {})) {}
  FileInput(const FileInput&) = delete;
  FileInput& operator=(const FileInput&) = delete;
  FileInput& operator=(FileInput&&) = delete;
  ~FileInput() {
    if (fd_ > STDIN_FILENO) ::close(fd_);
  }

  // What is buffered; reads a block when nothing is. Empty only at the end of the file.
  std::expected<std::span<const char>, std::string> fill() {
    if (data_.empty()) {
      ReadResult n = read_some(buffer());
      if (!n) return std::unexpected(std::move(n.error()));
      data_ = {buffer_.get(), *n};
    }
    return data_;
  }

  // As many of the file's first bytes as a compression's magic needs, fewer when it is shorter.
  std::expected<std::string_view, std::string> peek_magic() {
    constexpr size_t kMagicBytes = 6;
    size_t have = 0;
    while (have < kMagicBytes) {
      ReadResult n = read_some(buffer().subspan(have));
      if (!n) return std::unexpected(std::move(n.error()));
      if (*n == 0) break;
      have += *n;
    }
    data_ = {buffer_.get(), have};
    return std::string_view(buffer_.get(), have);
  }

  void consume(size_t n) noexcept { data_ = data_.subspan(n); }

 private:
  std::span<char> buffer() noexcept { return {buffer_.get(), kInputBytes}; }
  ReadResult read_some(std::span<char> out) {
    for (;;) {
      const ssize_t n = ::read(fd_, out.data(), out.size());
      if (n >= 0) return static_cast<size_t>(n);
      if (errno != EINTR) return std::unexpected(errno_text("cannot read", errno));
    }
  }

  int fd_;
  // Not zeroed: of a short file most is never touched.
  std::unique_ptr<char[]> buffer_;
  std::span<const char> data_;
};

class PlainSource final : public ByteSource {
 public:
  explicit PlainSource(FileInput in) : in_(std::move(in)) {}

  ReadResult read(std::span<char> out) override {
    const auto data = in_.fill();
    if (!data) return std::unexpected(data.error());
    const size_t n = std::min(data->size(), out.size());
    std::copy_n(data->begin(), n, out.begin());
    in_.consume(n);
    return n;
  }

 private:
  FileInput in_;
};

class XzSource final : public ByteSource {
 public:
  explicit XzSource(FileInput in) : in_(std::move(in)) {
    // A recording of ours needs 9 MiB; the limit only stops a hostile header.
    constexpr uint64_t kMemoryLimit = uint64_t{256} << 20;
    failed_ = lzma_stream_decoder(&stream_, kMemoryLimit, LZMA_CONCATENATED) != LZMA_OK;
  }
  XzSource(const XzSource&) = delete;
  XzSource& operator=(const XzSource&) = delete;
  ~XzSource() override { lzma_end(&stream_); }

  ReadResult read(std::span<char> out) override {
    if (failed_) return std::unexpected("xz: not enough memory to decompress"s);
    stream_.next_out = reinterpret_cast<uint8_t*>(out.data());
    stream_.avail_out = out.size();
    while (!ended_ && stream_.avail_out == out.size()) {
      const auto data = in_.fill();
      if (!data) return std::unexpected(data.error());
      stream_.next_in = reinterpret_cast<const uint8_t*>(data->data());
      stream_.avail_in = data->size();
      // Concatenated streams end only where the file does, so the decoder must be told.
      const lzma_ret ret = lzma_code(&stream_, data->empty() ? LZMA_FINISH : LZMA_RUN);
      in_.consume(data->size() - stream_.avail_in);
      if (ret == LZMA_STREAM_END) {
        ended_ = true;
      } else if (ret != LZMA_OK) {
        return std::unexpected(explain(ret));
      }
    }
    return out.size() - stream_.avail_out;
  }

 private:
  static std::string explain(lzma_ret ret) {
    switch (ret) {
      case LZMA_BUF_ERROR: return "xz: truncated: the file ends inside its compressed data";
      case LZMA_MEM_ERROR:
      case LZMA_MEMLIMIT_ERROR: return "xz: not enough memory to decompress";
      case LZMA_OPTIONS_ERROR: return "xz: compressed with an option that is not supported";
      default: return "xz: corrupt compressed data";
    }
  }

  FileInput in_;
  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool failed_ = false;
  bool ended_ = false;
};

class ZstdSource final : public ByteSource {
 public:
  explicit ZstdSource(FileInput in) : in_(std::move(in)), stream_(ZSTD_createDStream()) {}
  ZstdSource(const ZstdSource&) = delete;
  ZstdSource& operator=(const ZstdSource&) = delete;
  ~ZstdSource() override { ZSTD_freeDStream(stream_); }

  ReadResult read(std::span<char> out) override {
    if (stream_ == nullptr) return std::unexpected("zstd: not enough memory to decompress"s);
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    while (to.pos == 0) {
      const auto data = in_.fill();
      if (!data) return std::unexpected(data.error());
      ZSTD_inBuffer from{data->data(), data->size(), 0};
      const bool at_end = data->empty();
      const size_t ret = ZSTD_decompressStream(stream_, &to, &from);
      in_.consume(from.pos);
      if (ZSTD_isError(ret) != 0) return std::unexpected("zstd: corrupt compressed data"s);
      // With nothing left to read and nothing flushed, only a finished frame is a good end.
      if (at_end && to.pos == 0) {
        if (inside_frame_) {
          return std::unexpected("zstd: truncated: the file ends inside its compressed data"s);
        }
        break;
      }
      inside_frame_ = ret != 0;
    }
    return to.pos;
  }

 private:
  FileInput in_;
  ZSTD_DStream* stream_;
  bool inside_frame_ = true;
};

class GzipSource final : public ByteSource {
 public:
  explicit GzipSource(FileInput in) : in_(std::move(in)) {
    constexpr int kGzipOnly = 16;
    failed_ = inflateInit2(&stream_, MAX_WBITS + kGzipOnly) != Z_OK;
  }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;
  ~GzipSource() override { inflateEnd(&stream_); }

  ReadResult read(std::span<char> out) override {
    if (failed_) return std::unexpected("gzip: not enough memory to decompress"s);
    const size_t room = std::min(out.size(), kInputBytes);
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(room);
    while (stream_.avail_out == room) {
      const auto data = in_.fill();
      if (!data) return std::unexpected(data.error());
      if (data->empty()) {
        if (!inside_member_) break;
        return std::unexpected("gzip: truncated: the file ends inside its compressed data"s);
      }
      if (!inside_member_) {
        if (inflateReset(&stream_) != Z_OK) return std::unexpected("gzip: corrupt"s);
        inside_member_ = true;
      }
      // zlib's interface has no const; it does not write to its input.
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data->data()));
      stream_.avail_in = static_cast<uInt>(data->size());
      const int ret = inflate(&stream_, Z_NO_FLUSH);
      in_.consume(data->size() - stream_.avail_in);
      if (ret == Z_STREAM_END) {
        inside_member_ = false;
      } else if (ret != Z_OK && ret != Z_BUF_ERROR) {
        return std::unexpected("gzip: corrupt compressed data"s);
      }
    }
    return room - stream_.avail_out;
  }

 private:
  FileInput in_;
  z_stream stream_{};
  bool failed_ = false;
  bool inside_member_ = true;
};

std::expected<int, std::string> open_file(const std::string& path) {
  if (path == "-") return STDIN_FILENO;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::unexpected(errno_text("cannot open", errno));
  struct stat st{};
  if (::fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
    ::close(fd);
    return std::unexpected(errno_text("cannot read", EISDIR));
  }
  return fd;
}

}  // namespace

std::expected<std::unique_ptr<ByteSource>, std::string> open_bytes(const std::string& path) {
  const auto fd = open_file(path);
  if (!fd) return std::unexpected(fd.error());
  FileInput in(*fd);
  const auto magic = in.peek_magic();
  if (!magic) return std::unexpected(magic.error());
  if (magic->starts_with("\xfd\x37\x7a\x58\x5a\x00"sv)) {
    return std::make_unique<XzSource>(std::move(in));
  }
  if (magic->starts_with("\x28\xb5\x2f\xfd"sv)) return std::make_unique<ZstdSource>(std::move(in));
  if (magic->starts_with("\x1f\x8b"sv)) return std::make_unique<GzipSource>(std::move(in));
  return std::make_unique<PlainSource>(std::move(in));
}

}  // namespace pervma::trace

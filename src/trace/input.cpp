#include "trace/input.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

namespace pervma::trace {

LineSource::LineSource(std::string path, std::unique_ptr<ByteSource> bytes)
    : path_(std::move(path)), bytes_(std::move(bytes)), buffer_(size_t{256} << 10) {}

namespace {

class TextBytes final : public ByteSource {
 public:
  explicit TextBytes(std::string text) : text_(std::move(text)) {}
  std::expected<size_t, std::string> read(std::span<char> out) override {
    const size_t n = std::min(out.size(), text_.size() - at_);
    std::memcpy(out.data(), text_.data() + at_, n);
    at_ += n;
    return n;
  }

 private:
  const std::string text_;
  size_t at_ = 0;
};

}  // namespace

LineSource LineSource::of_text(std::string name, std::string text) {
  return LineSource(std::move(name), std::make_unique<TextBytes>(std::move(text)));
}

TraceResult<LineSource> LineSource::open(std::string path) {
  auto bytes = open_bytes(path);
  if (!bytes) return std::unexpected(TraceError{std::move(path), 0, std::move(bytes.error())});
  return LineSource(std::move(path), std::move(*bytes));
}

TraceResult<bool> LineSource::read_more() {
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    searched_ -= begin_;
    begin_ = 0;
  }
  if (end_ == buffer_.size()) {
    if (end_ > kLongestLine) {
      ++lines_read_;  // The line to blame is the one that was being read.
      return std::unexpected(error("line longer than 1 MiB: not the text of a recording"));
    }
    buffer_.resize(buffer_.size() * 2);
  }
  auto n = bytes_->read(std::span(buffer_).subspan(end_));
  if (!n) {
    ++lines_read_;
    return std::unexpected(error(std::move(n.error())));
  }
  end_ += *n;
  return *n != 0;
}

TraceResult<std::optional<Line>> LineSource::next() {
  if (lines_read_ == std::numeric_limits<uint32_t>::max()) {
    return std::unexpected(error("more than 2^32 lines"));
  }
  for (;;) {
    const char* from = buffer_.data() + searched_;
    if (const void* hit = std::memchr(from, '\n', end_ - searched_)) {
      const auto at = static_cast<size_t>(static_cast<const char*>(hit) - buffer_.data());
      const std::string_view text(buffer_.data() + begin_, at - begin_);
      begin_ = searched_ = at + 1;
      return Line{text, ++lines_read_, LineEnd::newline};
    }
    searched_ = end_;
    const auto more = read_more();
    if (!more) return std::unexpected(more.error());
    if (*more) continue;
    if (begin_ == end_) return std::nullopt;
    const std::string_view text(buffer_.data() + begin_, end_ - begin_);
    begin_ = searched_ = end_;
    return Line{text, ++lines_read_, LineEnd::end_of_file};
  }
}

}  // namespace pervma::trace

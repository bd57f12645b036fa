#include "trace/oracle_recording.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>

#include "trace/input.h"
#include "trace/oracle_words.h"

namespace pervma::trace {

namespace {

// Words of one line, one blank between two.
class Words {
 public:
  explicit Words(std::string_view line) noexcept : rest_(line) {}
  std::string_view next() noexcept {
    const size_t blank = rest_.find(' ');
    const std::string_view word = rest_.substr(0, blank);
    rest_ = blank == std::string_view::npos ? std::string_view{} : rest_.substr(blank + 1);
    return word;
  }
  std::string_view rest() const noexcept { return rest_; }
  bool empty() const noexcept { return rest_.empty(); }

 private:
  std::string_view rest_;
};

template <class T>
bool to_number(std::string_view word, T& value, int base = 10) noexcept {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, base);
  return error == std::errc{} && end == word.data() + word.size() && !word.empty();
}

class Parser {
 public:
  explicit Parser(LineSource& lines) noexcept : lines_(lines) {}

  TraceResult<OracleRecording> parse();

 private:
  using Done = std::optional<std::string>;  // what is wrong

  Done line(std::string_view text);
  Done header(Words words);
  Done file(Words words);
  Done operation(std::string_view text, Words words);
  Done arguments(OracleOp& op, Words& words);
  Done answer(OracleOp& op, std::string_view text);
  Done gone(Words words);
  Done vma(Words words);
  Done dump(Words words);

  bool bytes(std::string_view word, uint64_t& value) const noexcept;
  bool address(std::string_view word, Address& value) const noexcept;

  LineSource& lines_;
  OracleRecording r_;
  bool has_header_ = false;
  bool ended_ = false;
  uint64_t dump_left_ = 0;
};

TraceResult<OracleRecording> Parser::parse() {
  r_.path = lines_.path();
  for (bool first = true;; first = false) {
    TraceResult<std::optional<Line>> next = lines_.next();
    if (!next) return std::unexpected(next.error());
    if (!*next) break;
    const std::string_view text = (*next)->text;
    if (first) {
      if (text != "# pervma-oracle 1") {
        return std::unexpected(lines_.error("not a recording of the format pervma-oracle 1"));
      }
      continue;
    }
    if (ended_) return std::unexpected(lines_.error("a line behind the end"));
    if (const Done wrong = line(text)) {
      return std::unexpected(lines_.error(*wrong + ": " + excerpt(text)));
    }
  }
  if (!ended_) return std::unexpected(lines_.error("truncated: there is no E line"));
  return std::move(r_);
}

auto Parser::line(std::string_view text) -> Done {
  if (text.starts_with('#')) return {};
  if (text.size() < 2 || text[1] != ' ') return "a line of an unknown kind";
  Words words(text.substr(2));
  const char kind = text[0];
  if (kind == 'H') return header(words);
  if (!has_header_) return "a line before the header";
  if (dump_left_ != 0 && kind != '=') return "a dump is cut short";
  switch (kind) {
    case 'F': return file(words);
    case 'O': return operation(text, words);
    case '-': return gone(words);
    case '+': return vma(words);
    case 'D': return dump(words);
    case '=':
      if (dump_left_ == 0) return "a dump has too many lines";
      --dump_left_;
      return vma(words);
    case 'E': {
      uint64_t n = 0;
      if (!to_number(words.next(), n) || n != r_.ops.size()) {
        return fmt::format("the end names another number of operations than {}", r_.ops.size());
      }
      ended_ = true;
      return {};
    }
    default: return "a line of an unknown kind";
  }
}

auto Parser::header(Words words) -> Done {
  has_header_ = true;
  while (!words.empty()) {
    const std::string_view word = words.next();
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos) return "a header field without a value";
    const std::string_view key = word.substr(0, equals);
    const std::string_view value = word.substr(equals + 1);
    uint64_t pages = 0;
    if (key == "window_pages" && (!to_number(value, pages) || pages != kOracleWindowPages)) {
      return "another window";
    }
    if (key == "brk" && !to_number(value, r_.brk)) return "brk is not a number";
    if (key == "memlock" && !to_number(value, r_.memlock)) return "memlock is not a number";
  }
  return {};
}

// "N", "N+B" pages and bytes, or "!0xHEX".
bool Parser::bytes(std::string_view word, uint64_t& value) const noexcept {
  if (word.starts_with("!0x")) return to_number(word.substr(3), value, 16);
  const size_t plus = word.find('+');
  uint64_t more = 0;
  if (plus != std::string_view::npos && !to_number(word.substr(plus + 1), more)) return false;
  if (!to_number(word.substr(0, plus), value)) return false;
  value = (value << kPageShift) + more;
  return true;
}

bool Parser::address(std::string_view word, Address& value) const noexcept {
  if (word == "NULL" || word == "-") {
    value = {};
    return true;
  }
  if (!bytes(word, value.value)) return false;
  if (!word.starts_with('!')) value.value += kOracleWindow.value;
  return true;
}

auto Parser::file(Words words) -> Done {
  OracleFile f;
  f.name = words.next();
  if (!bytes(words.next(), f.bytes) || !to_number(words.next(), f.base, 16)) {
    return "a file without size or base";
  }
  r_.files.push_back(std::move(f));
  return {};
}

auto Parser::operation(std::string_view text, Words words) -> Done {
  OracleOp op;
  op.line = lines_.lines_read();
  op.text = static_cast<uint32_t>(r_.text.size());
  op.text_size = static_cast<uint32_t>(text.size());
  r_.text += text;
  uint64_t number = 0;
  if (!to_number(words.next(), number) || number != r_.ops.size()) {
    return fmt::format("operation {} is missing", r_.ops.size());
  }
  const std::optional<OracleCall> call = oracle_call(words.next());
  if (!call) return "an operation that is not known";
  op.call = *call;
  if (Done wrong = arguments(op, words)) return wrong;
  if (words.next() != "->") return "an operation without an answer, or with too many arguments";
  if (Done wrong = answer(op, words.rest())) return wrong;
  op.gone_first = static_cast<uint32_t>(r_.gone.size());
  op.new_first = static_cast<uint32_t>(r_.vmas.size());
  r_.ops.push_back(std::move(op));
  return {};
}

auto Parser::arguments(OracleOp& op, Words& words) -> Done {
  if (op.call == OracleCall::fork || op.call == OracleCall::munlockall) return {};
  if (op.call == OracleCall::mlockall) {
    return oracle_lock_all_flags(words.next(), op.flags) ? Done{} : "an unknown mlockall flag";
  }
  if (!address(words.next(), op.address)) return "not an address";
  if (op.call == OracleCall::brk || op.call == OracleCall::read) return {};
  if (op.call == OracleCall::write) {
    return to_number(words.next(), op.byte, 16) ? Done{} : "not a byte";
  }
  if (!bytes(words.next(), op.length)) return "not a length";
  switch (op.call) {
    case OracleCall::mmap: {
      if (!oracle_prot(words.next(), op.prot)) return "not a protection";
      if (!oracle_map_flags(words.next(), op.flags)) return "an unknown mmap flag";
      const std::optional<uint8_t> file = oracle_opening(words.next());
      if (!file) return "an unknown file";
      op.file = *file;
      return bytes(words.next(), op.offset) ? Done{} : "not an offset";
    }
    case OracleCall::mprotect:
      return oracle_prot(words.next(), op.prot) ? Done{} : "not a protection";
    case OracleCall::madvise:
      return oracle_advice(words.next(), op.advice) ? Done{} : "an unknown advice";
    case OracleCall::mlock2:
      return oracle_lock_flags(words.next(), op.flags) ? Done{} : "an unknown mlock2 flag";
    case OracleCall::mremap:
      if (!bytes(words.next(), op.new_length)) return "not a length";
      if (!oracle_remap_flags(words.next(), op.flags)) return "an unknown mremap flag";
      return address(words.next(), op.new_address) ? Done{} : "not an address";
    default: return {};
  }
}

auto Parser::answer(OracleOp& op, std::string_view text) -> Done {
  if (op.call == OracleCall::read || op.call == OracleCall::write) {
    if (text == "ok") return op.call == OracleCall::write ? Done{} : "a read without its byte";
    if (text.starts_with("ok ") && to_number(text.substr(3), op.byte, 16)) return {};
    const std::optional<OracleSignal> signal = oracle_signal(text);
    if (!signal) return "an unknown signal";
    op.signal = *signal;
    return {};
  }
  if (text.starts_with('-')) {
    op.error = oracle_errno(text.substr(1));
    return op.error != 0 ? Done{} : "an unknown errno";
  }
  if (text.starts_with('@')) return address(text.substr(1), op.place) ? Done{} : "not an address";
  if (op.call == OracleCall::mincore && text.starts_with("0 ")) {
    if (text != "0 -") op.bits = text.substr(2);
    return {};
  }
  return text == "0" ? Done{} : "an answer that is not known";
}

auto Parser::gone(Words words) -> Done {
  uint64_t start = 0;
  const std::string_view range = words.next();
  if (r_.ops.empty() || !to_number(range.substr(0, range.find('-')), start)) return "not a range";
  r_.gone.push_back(start);
  ++r_.ops.back().gone_count;
  return {};
}

auto Parser::vma(Words words) -> Done {
  if (r_.ops.empty()) return "a VMA without an operation";
  OracleVma v;
  const std::string_view range = words.next();
  const size_t dash = range.find('-');
  if (dash == std::string_view::npos || !to_number(range.substr(0, dash), v.start) ||
      !to_number(range.substr(dash + 1), v.end)) {
    return "not a range";
  }
  const std::string_view perms = words.next();
  const std::string_view offset = words.next();
  if (offset != "-" && !to_number(offset, v.offset)) return "not an offset";
  const std::string_view backing = words.next();
  if (backing == "anon") {
    v.backing.index = OracleBacking::kAnonymous;
  } else if (uint32_t k = 0; backing.starts_with('s') && to_number(backing.substr(1), k)) {
    v.backing.index = OracleBacking::kFirstShared + k;
  } else {
    const auto file = std::ranges::find(r_.files, backing, &OracleFile::name);
    if (file == r_.files.end()) return "an unknown backing";
    v.backing.index = OracleBacking::kFirstFile + static_cast<uint32_t>(file - r_.files.begin());
  }
  const std::optional<VmaFlags> flags = oracle_vma_flags(words.next());
  if (!flags) return "an unknown VMA flag";
  v.flags = *flags;
  if (perms != oracle_perms(v.flags)) return "permissions and flags disagree";
  OracleOp& op = r_.ops.back();
  ++(op.has_dump ? op.dump_count : op.new_count);
  r_.vmas.push_back(v);
  return {};
}

auto Parser::dump(Words words) -> Done {
  if (r_.ops.empty() || r_.ops.back().has_dump) return "a dump without an operation";
  if (!to_number(words.next(), dump_left_)) return "not a number";
  r_.ops.back().has_dump = true;
  r_.ops.back().dump_first = static_cast<uint32_t>(r_.vmas.size());
  return {};
}

bool is_recording(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  return std::ranges::any_of(std::array{".trace", ".trace.gz", ".trace.xz", ".trace.zst"},
                             [&](const char* end) { return name.ends_with(end); });
}

}  // namespace

TraceResult<OracleRecording> read_oracle_recording(const std::string& path) {
  TraceResult<LineSource> lines = LineSource::open(path);
  if (!lines) return std::unexpected(lines.error());
  return Parser(*lines).parse();
}

TraceResult<OracleRecording> parse_oracle_recording(std::string name, std::string text) {
  LineSource lines = LineSource::of_text(std::move(name), std::move(text));
  return Parser(lines).parse();
}

TraceResult<std::vector<std::string>> find_oracle_recordings(
    const std::vector<std::string>& paths) {
  namespace fs = std::filesystem;
  std::vector<std::string> found;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!fs::is_directory(path, error)) {
      found.push_back(path);
      continue;
    }
    const size_t before = found.size();
    for (fs::recursive_directory_iterator it(path, error), end; !error && it != end;
         it.increment(error)) {
      if (is_recording(it->path())) found.push_back(it->path().string());
    }
    if (error) return std::unexpected(TraceError{path, 0, error.message()});
    if (found.size() == before) {
      return std::unexpected(TraceError{path, 0, "no recordings in this folder"});
    }
    std::sort(found.begin() + static_cast<std::ptrdiff_t>(before), found.end());
  }
  return found;
}

std::string to_string(const OracleVma& v, const OracleRecording& r) {
  std::string backing = "anon";
  const uint32_t index = v.backing.index;
  if (index >= OracleBacking::kFirstShared) {
    backing = fmt::format("s{}", index - OracleBacking::kFirstShared);
  } else if (index != OracleBacking::kAnonymous) {
    const size_t file = index - OracleBacking::kFirstFile;
    backing = file < r.files.size() ? r.files[file].name : "?";
  }
  const std::string offset = index == OracleBacking::kAnonymous ? "-" : fmt::format("{}", v.offset);
  return fmt::format("{}-{} {} {} {} {}", v.start, v.end, oracle_perms(v.flags), offset, backing,
                     oracle_flag_text(v.flags));
}

}  // namespace pervma::trace

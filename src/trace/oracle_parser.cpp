// The reader of recordings. It works on the whole text at once and keeps it: words are views, and
// nothing is allocated per line.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "trace/byte_source.h"
#include "trace/oracle_recording.h"
#include "trace/oracle_words.h"
#include "trace/trace_error.h"

namespace pervma::trace {

namespace {

// Words of one line, one blank between two.
class Words {
 public:
  explicit Words(std::string_view line) noexcept
      : at_(line.data()), end_(line.data() + line.size()) {}
  std::string_view next() noexcept {
    const char* const begin = at_;
    while (at_ != end_ && *at_ != ' ') ++at_;
    const std::string_view word(begin, static_cast<size_t>(at_ - begin));
    if (at_ != end_) ++at_;
    return word;
  }
  std::string_view rest() const noexcept { return {at_, static_cast<size_t>(end_ - at_)}; }
  bool empty() const noexcept { return at_ == end_; }

 private:
  const char* at_;
  const char* end_;
};

constexpr int64_t kMostMaps = 999'999;

constexpr int digit_of(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return 16;
}

// All of the word, without a sign.
bool to_number(std::string_view word, uint64_t& value, unsigned base = 10) noexcept {
  if (word.empty()) return false;
  uint64_t v = 0;
  for (const char c : word) {
    const auto digit = static_cast<unsigned>(digit_of(c));
    if (digit >= base || v > (~uint64_t{0} - digit) / base) return false;
    v = v * base + digit;
  }
  value = v;
  return true;
}

bool to_byte(std::string_view word, uint8_t& value) noexcept {
  uint64_t v = 0;
  if (!to_number(word, v, 16) || v > 0xff) return false;
  value = static_cast<uint8_t>(v);
  return true;
}

// -1 or a number of pages that can be.
bool to_pages(std::string_view word, int64_t& value) noexcept {
  uint64_t v = 0;
  if (word == "-1") {
    value = -1;
    return true;
  }
  if (!to_number(word, v) || v > uint64_t{1} << 52) return false;
  value = static_cast<int64_t>(v);
  return true;
}

class Parser {
 public:
  Parser(std::string path, std::string text) {
    r_.path = std::move(path);
    r_.text = std::move(text);
  }

  TraceResult<OracleRecording> parse();

 private:
  using Done = const char*;  // what is wrong, or null

  Done line(std::string_view text);
  Done header(Words words);
  Done file(Words words);
  Done operation(std::string_view text, Words words);
  Done arguments(OracleOp& op, Words& words);
  Done answer(OracleOp& op, std::string_view text);
  Done gone(Words words);
  Done vma(Words words);
  Done backing(std::string_view word, OracleVma& v) const noexcept;
  Done dump(Words words);

  static bool bytes(std::string_view word, uint64_t& value) noexcept;
  static bool address(std::string_view word, Address& value) noexcept;
  uint32_t place_of(std::string_view part) const noexcept {
    return static_cast<uint32_t>(part.data() - r_.text.data());
  }
  std::unexpected<TraceError> error(std::string message) const {
    return std::unexpected(TraceError{r_.path, line_, std::move(message)});
  }

  OracleRecording r_;
  uint32_t line_ = 0;
  bool has_header_ = false;
  bool ended_ = false;
  uint64_t dump_left_ = 0;
};

TraceResult<OracleRecording> Parser::parse() {
  if (r_.text.size() > std::numeric_limits<uint32_t>::max()) return error("larger than 4 GiB");
  // Enough for most; what is not used is never touched.
  r_.ops.reserve(r_.text.size() / 64);
  r_.vmas.reserve(r_.text.size() / 40);
  const char* const end = r_.text.data() + r_.text.size();
  for (const char* at = r_.text.data(); at != end;) {
    ++line_;
    const void* newline = std::memchr(at, '\n', static_cast<size_t>(end - at));
    const char* stop = newline != nullptr ? static_cast<const char*>(newline) : end;
    const std::string_view text(at, static_cast<size_t>(stop - at));
    at = stop == end ? end : stop + 1;
    if (line_ == 1) {
      if (text != "# pervma-oracle 1") {
        return error("not a recording of the format pervma-oracle 1");
      }
      continue;
    }
    if (ended_) return error("a line behind the end");
    if (const Done wrong = line(text)) {
      return error(fmt::format("{}: {}", wrong, excerpt(text)));
    }
  }
  if (line_ == 0) line_ = 1;
  if (r_.text.empty()) return error("empty: not a recording of the format pervma-oracle 1");
  if (!ended_) return error("truncated: there is no E line");
  return std::move(r_);
}

auto Parser::line(std::string_view text) -> Done {
  if (text.starts_with('#')) return {};
  if (text.size() < 2 || text[1] != ' ') return "a line of an unknown kind";
  Words words(text.substr(2));
  const char kind = text[0];
  if (kind == 'H') return has_header_ ? "a second header" : header(words);
  if (!has_header_) return "a line before the header";
  if (dump_left_ != 0 && kind != '=') return "a dump is cut short";
  switch (kind) {
    case 'F': return file(words);
    case 'O': return operation(text, words);
    case '-': return gone(words);
    case '+':
      if (!r_.ops.empty() && r_.ops.back().has_dump) return "a change behind a full list";
      return vma(words);
    case 'D': return dump(words);
    case '=':
      if (dump_left_ == 0) return "a dump has too many lines";
      --dump_left_;
      return vma(words);
    case 'E': {
      uint64_t n = 0;
      if (!to_number(words.next(), n) || n != r_.ops.size()) {
        return "the end names another number of operations than there are";
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
    if (key == "brk" && (!to_pages(value, r_.setup.brk) ||
                         r_.setup.brk > static_cast<int64_t>(kOracleWindowPages))) {
      return "brk is not a page of the window";
    }
    if (key == "memlock" && !to_pages(value, r_.setup.memlock)) return "memlock is not a number";
    if (key == "as" && !to_pages(value, r_.setup.address_space)) return "as is not a number";
    if (key == "maps" && (!to_pages(value, r_.setup.maps) || r_.setup.maps > kMostMaps)) {
      return "maps is not a number below a million";
    }
    if (key == "uffd" && (!to_pages(value, r_.setup.user_faults) || r_.setup.user_faults > 1)) {
      return "uffd is neither 0 nor 1";
    }
    if (key == "kernel") r_.kernel = value;
  }
  return {};
}

// "N", "N+B" pages and bytes, or "!0xHEX".
bool Parser::bytes(std::string_view word, uint64_t& value) noexcept {
  if (word.starts_with("!0x")) return to_number(word.substr(3), value, 16);
  const size_t plus = word.find('+');
  uint64_t more = 0;
  if (plus != std::string_view::npos && !to_number(word.substr(plus + 1), more)) return false;
  if (!to_number(word.substr(0, plus), value)) return false;
  value = (value << kPageShift) + more;
  return true;
}

bool Parser::address(std::string_view word, Address& value) noexcept {
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
  if (!bytes(words.next(), f.bytes) || !to_byte(words.next(), f.base)) {
    return "a file without size or base";
  }
  r_.files.push_back(std::move(f));
  return {};
}

auto Parser::operation(std::string_view text, Words words) -> Done {
  OracleOp& op = r_.ops.emplace_back();
  op.line = line_;
  op.text = place_of(text);
  op.text_size = static_cast<uint32_t>(text.size());
  uint64_t number = 0;
  if (!to_number(words.next(), number) || number + 1 != r_.ops.size()) {
    return "an operation is missing before this one";
  }
  const std::optional<OracleCall> call = oracle_call(words.next());
  if (!call) return "an operation that is not known";
  op.call = *call;
  if (const Done wrong = arguments(op, words)) return wrong;
  if (words.next() != "->") return "an operation without an answer, or with too many arguments";
  if (const Done wrong = answer(op, words.rest())) return wrong;
  op.gone_first = static_cast<uint32_t>(r_.gone.size());
  op.new_first = static_cast<uint32_t>(r_.vmas.size());
  return {};
}

auto Parser::arguments(OracleOp& op, Words& words) -> Done {
  if (op.call == OracleCall::fork || op.call == OracleCall::munlockall) return {};
  if (op.call == OracleCall::mlockall) {
    return oracle_lock_all_flags(words.next(), op.flags) ? Done{} : "an unknown mlockall flag";
  }
  if (!address(words.next(), op.address)) return "not an address";
  if (op.call == OracleCall::brk || op.call == OracleCall::read) return {};
  if (op.call == OracleCall::write) return to_byte(words.next(), op.byte) ? Done{} : "not a byte";
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
    case OracleCall::msync:
      return oracle_sync_flags(words.next(), op.flags) ? Done{} : "an unknown msync flag";
    case OracleCall::mremap:
      if (!bytes(words.next(), op.new_length)) return "not a length";
      if (!oracle_remap_flags(words.next(), op.flags)) return "an unknown mremap flag";
      return address(words.next(), op.new_address) ? Done{} : "not an address";
    case OracleCall::uffd_register:
      return oracle_told_flags(words.next(), op.flags) ? Done{} : "an unknown uffd_register mode";
    case OracleCall::uffd_copy:
      if (!to_byte(words.next(), op.byte)) return "not a byte";
      [[fallthrough]];
    case OracleCall::uffd_zeropage:
    case OracleCall::uffd_continue:
      return oracle_fill_flags(words.next(), op.flags) ? Done{} : "an unknown mode";
    case OracleCall::uffd_move:
      if (!address(words.next(), op.new_address)) return "not an address";
      return oracle_move_flags(words.next(), op.flags) ? Done{} : "an unknown uffd_move mode";
    case OracleCall::uffd_writeprotect:
      return oracle_close_flags(words.next(), op.flags) ? Done{}
                                                        : "an unknown uffd_writeprotect mode";
    default: return {};
  }
}

auto Parser::answer(OracleOp& op, std::string_view text) -> Done {
  OracleAnswer& a = op.answer;
  if (op.call == OracleCall::read || op.call == OracleCall::write) {
    if (text == "ok") return op.call == OracleCall::write ? Done{} : "a read without its byte";
    if (op.call == OracleCall::read && text.starts_with("ok ") && to_byte(text.substr(3), a.byte)) {
      return {};
    }
    const std::optional<OracleSignal> signal = oracle_signal(text);
    if (!signal) return "an unknown signal";
    a.signal = *signal;
    return {};
  }
  if (text.starts_with('-')) {
    const size_t blank = text.find(' ');
    if (blank != std::string_view::npos && fills_pages(op.call)) {
      if (!bytes(text.substr(blank + 1), a.done)) return "not a length";
      text = text.substr(0, blank);
    }
    a.error = oracle_errno(text.substr(1));
    return a.error != 0 ? Done{} : "an unknown errno";
  }
  switch (op.call) {
    case OracleCall::mmap:
    case OracleCall::mremap:
    case OracleCall::brk:
      return text.starts_with('@') && address(text.substr(1), a.place) ? Done{} : "not a place";
    case OracleCall::mincore: {
      if (!text.starts_with("0 ")) return "mincore without its digits";
      if (text == "0 -") return {};
      const std::string_view bits = text.substr(2);
      if (bits.find_first_not_of("01.") != std::string_view::npos) return "not mincore's digits";
      op.bits = place_of(bits);
      op.bits_size = static_cast<uint32_t>(bits.size());
      return {};
    }
    default: return text == "0" ? Done{} : "an answer that is not known";
  }
}

auto Parser::gone(Words words) -> Done {
  uint64_t start = 0;
  const std::string_view range = words.next();
  if (r_.ops.empty() || !to_number(range.substr(0, range.find('-')), start)) return "not a range";
  if (r_.ops.back().new_count != 0 || r_.ops.back().has_dump) return "what goes comes first";
  r_.gone.push_back(start);
  ++r_.ops.back().gone_count;
  return {};
}

auto Parser::backing(std::string_view word, OracleVma& v) const noexcept -> Done {
  if (word == "anon") return {};
  uint64_t k = 0;
  if (word.starts_with('s') && to_number(word.substr(1), k) && k < 1'000'000'000) {
    v.backing.index = OracleBacking::kFirstShared + static_cast<uint32_t>(k);
    return {};
  }
  const auto file = std::ranges::find(r_.files, word, &OracleFile::name);
  if (file == r_.files.end()) return "an unknown backing";
  v.backing.index = OracleBacking::kFirstFile + static_cast<uint32_t>(file - r_.files.begin());
  return {};
}

auto Parser::vma(Words words) -> Done {
  if (r_.ops.empty()) return "a VMA without an operation";
  OracleVma& v = r_.vmas.emplace_back();
  const std::string_view range = words.next();
  const size_t dash = range.find('-');
  if (dash == std::string_view::npos || !to_number(range.substr(0, dash), v.start) ||
      !to_number(range.substr(dash + 1), v.end) || v.start >= v.end) {
    return "not a range";
  }
  const std::string_view perms = words.next();
  const std::string_view offset = words.next();
  if (offset != "-" && !to_number(offset, v.offset)) return "not an offset";
  if (const Done wrong = backing(words.next(), v)) return wrong;
  const std::string_view flag_list = words.next();
  const std::optional<VmaFlags> flags = oracle_vma_flags(flag_list);
  if (!flags) return "an unknown VMA flag";
  v.flags = *flags;
  if (v.flags.has(VmaFlag::user_fault)) v.told = oracle_user_modes(flag_list);
  const std::array<char, 4> shown = oracle_perms(v.flags);
  if (perms != std::string_view(shown.data(), shown.size())) {
    return "permissions and flags disagree";
  }
  OracleOp& op = r_.ops.back();
  ++(op.has_dump ? op.dump_count : op.new_count);
  return {};
}

auto Parser::dump(Words words) -> Done {
  if (r_.ops.empty() || r_.ops.back().has_dump) return "a dump without an operation";
  if (!to_number(words.next(), dump_left_)) return "not a number";
  r_.ops.back().has_dump = true;
  r_.ops.back().dump_first = static_cast<uint32_t>(r_.vmas.size());
  return {};
}

// Whether a file that begins so can be a recording. What cannot is not read to its end, which a
// device may not have.
bool can_be_recording(std::string_view begin) noexcept {
  constexpr std::string_view kFirst = "# pervma-oracle ";
  return begin.starts_with(kFirst.substr(0, begin.size()));
}

// All of a file, decompressed. Room for `text` is made by doubling.
TraceResult<std::string> read_all(const std::string& path) {
  auto bytes = open_bytes(path);
  if (!bytes) return std::unexpected(TraceError{path, 0, std::move(bytes.error())});
  std::string text;
  text.resize_and_overwrite(size_t{1} << 16, [](char*, size_t n) { return n; });
  for (size_t used = 0;;) {
    if (used == text.size()) {
      text.resize_and_overwrite(2 * used, [](char*, size_t n) { return n; });
    }
    const auto n = (*bytes)->read(std::span(text).subspan(used));
    if (!n) {
      const auto lines =
          std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(used), '\n');
      return std::unexpected(TraceError{path, static_cast<uint32_t>(lines) + 1, n.error()});
    }
    used += *n;
    if (*n == 0 || !can_be_recording(std::string_view(text).substr(0, used)) ||
        used > std::numeric_limits<uint32_t>::max()) {
      text.resize(used);
      return text;
    }
  }
}

}  // namespace

TraceResult<OracleRecording> read_oracle_recording(const std::string& path) {
  TraceResult<std::string> text = read_all(path);
  if (!text) return std::unexpected(text.error());
  return Parser(path, std::move(*text)).parse();
}

TraceResult<OracleRecording> parse_oracle_recording(std::string name, std::string text) {
  return Parser(std::move(name), std::move(text)).parse();
}

}  // namespace pervma::trace

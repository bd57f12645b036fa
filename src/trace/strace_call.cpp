#include "trace/strace_call.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "trace/scanner.h"
#include "trace/strace_symbols.h"
#include "trace/trace_error.h"

namespace pervma::trace {
namespace {

// These change an address space, and no recording of ours holds them.
constexpr std::string_view kUnknownCalls[] = {
    "shmat",  "shmdt",           "remap_file_pages", "map_shadow_stack", "mmap2",       "old_mmap",
    "uselib", "process_madvise", "clone2",           "modify_ldt",       "userfaultfd",
};

// The arguments of a call, cut at its commas; `after` is what stands behind its bracket.
struct Arguments {
  std::vector<std::string_view> list;
  std::string_view whole;
  std::optional<std::string_view> after;
};

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// Behind a "..." text of strace, whose own quotes are escaped.
size_t skip_quoted(std::string_view text, size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at;
}

// With -y a descriptor is followed by what it is, "3</a,b)>"; but "21<<MAP_HUGE_SHIFT" is a number.
bool begins_annotation(std::string_view text, size_t at) {
  const bool after_digit = at > 0 && text[at - 1] >= '0' && text[at - 1] <= '9';
  return text[at] == '<' && after_digit && at + 1 < text.size() && text[at + 1] != '<';
}

Arguments cut_arguments(std::string_view text) {
  Arguments out;
  size_t depth = 0;
  size_t start = 0;
  size_t at = 0;
  const auto cut = [&](size_t end) {
    const std::string_view one = trim(text.substr(start, end - start));
    if (!one.empty()) out.list.push_back(one);
    start = end + 1;
  };
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '"') {
      at = skip_quoted(text, at);
    } else if (begins_annotation(text, at)) {
      at = std::min(text.find('>', at), text.size());
    } else if (c == '(' || c == '[' || c == '{') {
      ++depth;
    } else if (c == ')' && depth == 0) {
      out.after = text.substr(at + 1);
      break;
    } else if ((c == ')' || c == ']' || c == '}') && depth > 0) {
      --depth;
    } else if (c == ',' && depth == 0) {
      cut(at);
    }
  }
  at = std::min(at, text.size());
  cut(at);
  out.whole = text.substr(0, at);
  return out;
}

// The value of "NAME=VALUE" in the arguments of clone and clone3, or nothing.
std::optional<std::string_view> named(std::string_view text, std::string_view name) {
  for (size_t at = text.find(name); at != text.npos; at = text.find(name, at + 1)) {
    const size_t value = at + name.size();
    const bool begins = at == 0 || text[at - 1] == ' ' || text[at - 1] == '{';
    if (!begins || value >= text.size() || text[value] != '=') continue;
    const std::string_view rest = text.substr(value + 1);
    return trim(rest.substr(0, rest.find_first_of(",}) ")));
  }
  return std::nullopt;
}

std::expected<void, std::string> clone_arguments(const Arguments& in, StraceCall& out) {
  if (const auto flags = named(in.whole, "flags")) {
    // Signals other than SIGCHLD end a child in ways that no address space notices.
    std::string known;
    for (size_t from = 0; from <= flags->size();) {
      const size_t bar = std::min(flags->find('|', from), flags->size());
      const std::string_view one = flags->substr(from, bar - from);
      if (!one.starts_with("SIG") || one == "SIGCHLD") {
        if (!known.empty()) known += '|';
        known += one;
      }
      from = bar + 1;
    }
    const auto value = decode_symbols(SymbolSet::clone, known.empty() ? "0" : known);
    if (!value) return std::unexpected("malformed flags '" + excerpt(*flags) + "'");
    out.clone_flags = *value;
  } else if (in.after) {
    return std::unexpected(std::string("no flags"));
  }
  if (out.call != Syscall::clone) return {};
  out.args[0] = out.clone_flags;
  constexpr std::string_view kNames[] = {"child_stack", "parent_tidptr", "child_tidptr", "tls"};
  for (size_t i = 0; i < std::size(kNames); ++i) {
    const auto text = named(in.whole, kNames[i]);
    out.args[i + 1] = text ? decode_number(*text).value_or(0) : 0;
  }
  return {};
}

std::optional<SymbolSet> symbols_of(Syscall call, size_t argument) {
  switch (call) {
    case Syscall::mmap:
      if (argument == 2) return SymbolSet::prot;
      if (argument == 3) return SymbolSet::map;
      return std::nullopt;
    case Syscall::mprotect:
    case Syscall::pkey_mprotect:
      if (argument == 2) return SymbolSet::prot;
      return std::nullopt;
    case Syscall::madvise:
      if (argument == 2) return SymbolSet::advice;
      return std::nullopt;
    case Syscall::mremap:
      if (argument == 3) return SymbolSet::mremap;
      return std::nullopt;
    case Syscall::mlock2:
      if (argument == 2) return SymbolSet::mlock2;
      return std::nullopt;
    case Syscall::mlockall: return SymbolSet::mlockall;
    default: return std::nullopt;
  }
}

std::expected<void, std::string> plain_arguments(const Arguments& in, StraceCall& out) {
  const auto names = argument_names(out.call);
  // strace leaves out mremap's last argument where it has no meaning.
  const size_t needed = names.size() - (out.call == Syscall::mremap ? 1 : 0);
  if (in.list.size() < needed) {
    return std::unexpected("argument '" + std::string(names[in.list.size()]) + "' is missing");
  }
  for (size_t i = 0; i < std::min(names.size(), in.list.size()); ++i) {
    const auto set = symbols_of(out.call, i);
    const auto value = set ? decode_symbols(*set, in.list[i]) : decode_number(in.list[i]);
    if (!value) {
      return std::unexpected("argument '" + std::string(names[i]) + "' is malformed: '" +
                             excerpt(in.list[i]) + "'");
    }
    out.args[i] = *value;
  }
  return {};
}

void exec_arguments(const Arguments& in, StraceCall& out) {
  for (std::string_view text : in.list) {
    if (!text.starts_with('"')) continue;  // execveat's directory comes first.
    text.remove_prefix(1);
    text = text.substr(0, text.find('"'));
    if (const size_t slash = text.rfind('/'); slash != text.npos) text.remove_prefix(slash + 1);
    out.program = std::string(text);
    return;
  }
}

}  // namespace

std::optional<Syscall> find_strace_call(std::string_view name) noexcept {
  if (name == "execveat") return Syscall::execve;
  if (name == "syscall_0x1ce") return Syscall::mseal;  // To a strace that is older than the call.
  return find_syscall(name);
}

CallUse use_of(std::string_view name) noexcept {
  if (find_strace_call(name)) return CallUse::read;
  const bool changes = std::ranges::find(kUnknownCalls, name) != std::end(kUnknownCalls);
  return changes || name.starts_with("syscall_0x") ? CallUse::unknown : CallUse::ignored;
}

std::expected<std::optional<int64_t>, std::string> parse_strace_result(std::string_view text) {
  Scanner in(trim(text));
  if (!in.take("= ")) return std::unexpected("no result: '" + excerpt(text) + "'");
  const bool unknown = in.take("?");
  if (unknown && in.done()) return std::optional<int64_t>{};
  if (unknown || in.take("-1 ")) {
    in.skip_spaces();
    const std::string_view name = in.rest().substr(0, in.rest().find(' '));
    if (unknown && !name.starts_with('E')) return std::optional<int64_t>{};
    const auto number = decode_errno(name);
    if (!number) return std::unexpected("unknown error '" + excerpt(name) + "'");
    return -int64_t{*number};
  }
  const auto value = in.rest().starts_with("0x") ? in.take_hex() : in.take_number();
  if (!value || (!in.done() && in.rest().front() != ' ')) {
    return std::unexpected("malformed result '" + excerpt(text) + "'");
  }
  return static_cast<int64_t>(*value);
}

std::expected<StraceCall, std::string> parse_strace_call(std::string_view text) {
  const size_t bracket = text.find('(');
  const std::string_view name = text.substr(0, bracket);
  const auto call = find_strace_call(name);
  if (!call || bracket == text.npos) return std::unexpected("not a call: '" + excerpt(text) + "'");
  StraceCall out;
  out.call = *call;
  const Arguments in = cut_arguments(text.substr(bracket + 1));
  std::expected<void, std::string> good;
  if (*call == Syscall::clone || *call == Syscall::clone3) {
    good = clone_arguments(in, out);
  } else if (*call == Syscall::execve) {
    exec_arguments(in, out);
  } else {
    good = plain_arguments(in, out);
  }
  if (!good) return std::unexpected(std::string(name) + ": " + good.error());
  if (in.after) {
    const auto result = parse_strace_result(*in.after);
    if (!result) return std::unexpected(std::string(name) + ": " + result.error());
    out.whole = true;
    out.result = *result;
  }
  return out;
}

}  // namespace pervma::trace

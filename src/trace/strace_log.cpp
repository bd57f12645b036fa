#include "trace/strace_log.h"

#include <algorithm>
#include <utility>

#include "trace/strace_call.h"

namespace pervma::trace {
namespace {

constexpr std::string_view kUnfinished = "<unfinished ...>";

// The number in "strace: Process N attached" at the end of `text`, which loses it; or nothing.
std::optional<int32_t> cut_attached(std::string_view& text) {
  constexpr std::string_view kBegin = "strace: Process ";
  const size_t at = text.rfind(kBegin);
  if (at == text.npos) return std::nullopt;
  Scanner in(text.substr(at + kBegin.size()));
  const auto tid = in.take_pid();
  if (!tid || in.rest() != " attached") return std::nullopt;
  text = text.substr(0, at);
  return tid;
}

std::string_view trim_end(std::string_view text) {
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

}  // namespace

// Who "[pid N]" leaves out: the one thread that is left.
int32_t StraceLog::unnamed_thread() const {
  if (alive_.size() == 1) return *alive_.begin();
  return root_;
}

void StraceLog::named_thread(int32_t tid) {
  if (root_ == kUnnamedThread && !alive_.contains(tid) && alive_.erase(kUnnamedThread) != 0) {
    root_ = tid;
    for (Event& e : events_) {
      if (e.tid == kUnnamedThread) e.tid = tid;
    }
    if (auto node = open_.extract(kUnnamedThread)) {
      node.key() = tid;
      open_.insert(std::move(node));
    }
  }
  alive_.insert(tid);
}

void StraceLog::push(EventBody body) {
  Event event;
  event.time_ns = time_ns_;
  event.line = line_;
  event.tid = tid_;
  event.body = body;
  events_.push_back(event);
}

StraceLog::Result StraceLog::add(const Line& line) {
  line_ = line.number;
  std::string_view text = line.text;
  const auto attached = cut_attached(text);
  if (attached) alive_.insert(*attached);
  if (!joined_.empty() || (attached && !text.empty())) {
    joined_ += text;
    if (attached) return {};  // The rest of what strace was printing is on the next line.
    const std::string joined = std::exchange(joined_, {});
    return whole(joined);
  }
  if (attached || text.starts_with("strace: ")) return {};
  return whole(text);
}

std::optional<int32_t> take_strace_thread(Scanner& in) noexcept {
  if (in.take("[pid ")) {
    in.skip_spaces();
    const auto tid = in.take_pid();
    if (!tid || *tid <= 0 || !in.take("] ")) return std::nullopt;
    return tid;
  }
  Scanner ahead = in;
  const auto tid = ahead.take_pid();
  // A number that goes on is the time.
  if (!tid || *tid <= 0 || !ahead.take(" ")) return kUnnamedThread;
  ahead.skip_spaces();
  in = ahead;
  return tid;
}

// "[pid N] TIME ...", "N  TIME ..." or "TIME ..."
StraceLog::Result StraceLog::whole(std::string_view text) {
  Scanner in(text);
  const auto tid = take_strace_thread(in);
  if (!tid) return std::unexpected("malformed [pid ...]");
  const auto time = in.take_time();
  if (!time || !in.take(" ")) {
    return std::unexpected("not a line of strace -f -ttt: '" + excerpt(text) + "'");
  }
  if (*tid != kUnnamedThread) named_thread(*tid);
  tid_ = *tid != kUnnamedThread ? *tid : unnamed_thread();
  time_ns_ = std::max(time_ns_, *time);  // The log's clock is the wall clock, which may be set.
  if (in.take("+++ ")) return ended(in.rest());
  if (in.take("--- ")) return {};
  if (in.take("<... ")) return resumed(in.rest());
  return call(in.rest());
}

StraceLog::Result StraceLog::ended(std::string_view text) {
  Scanner in(text);
  if (in.take("superseded by execve in pid ")) {
    // Another thread's exec takes this thread's place, and its number.
    const auto other = in.take_pid();
    if (!other) return std::unexpected("malformed +++ superseded by execve");
    open_.erase(tid_);
    if (auto node = open_.extract(*other)) {
      node.key() = tid_;
      open_.insert(std::move(node));
    }
    alive_.erase(*other);
    return {};
  }
  if (!in.take("exited with ") && !in.take("killed by ")) {
    return std::unexpected("unknown end: '+++ " + excerpt(text) + "'");
  }
  open_.erase(tid_);
  push(Exit{});
  alive_.erase(tid_);
  return {};
}

StraceLog::Result StraceLog::call(std::string_view text) {
  const size_t bracket = text.find('(');
  const std::string_view name = text.substr(0, bracket);
  const bool is_name = !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
  if (!is_name || bracket == text.npos) {
    return std::unexpected("not a call, a signal or an end: '" + excerpt(text) + "'");
  }
  switch (use_of(name)) {
    case CallUse::ignored: return {};
    case CallUse::unknown: return std::unexpected("unknown system call '" + excerpt(name) + "'");
    case CallUse::read: break;
  }
  if (text.ends_with(kUnfinished)) {
    return entered(trim_end(text.substr(0, text.size() - kUnfinished.size())), true);
  }
  // The exec of a thread that is not its process's first: it returns under that one's number.
  if (const size_t at = text.rfind(" <pid changed to "); at != text.npos && text.ends_with(">")) {
    return entered(text.substr(0, at), true);
  }
  // Its thread was killed, or strace let go of it.
  for (const std::string_view cut : {"<unfinished ...>) = ?", "<detached ...>"}) {
    if (const size_t at = text.rfind(cut); at != text.npos && at + cut.size() == text.size()) {
      return entered(trim_end(text.substr(0, at)), false);
    }
  }
  auto parsed = parse_strace_call(text);
  if (!parsed) return std::unexpected(parsed.error());
  if (!parsed->whole) return std::unexpected(std::string(name) + ": no result");
  if (auto good = entered(text, false); !good) return good;
  if (parsed->result) left(events_.size() - 1, parsed->call, *parsed->result);
  return {};
}

StraceLog::Result StraceLog::entered(std::string_view text, bool may_resume) {
  if (open_.contains(tid_)) {
    return std::unexpected("thread " + std::to_string(tid_) + " enters a call inside a call");
  }
  auto parsed = parse_strace_call(text);
  if (!parsed) return std::unexpected(parsed.error());
  const size_t enter = events_.size();
  push(SyscallEnter{.args = parsed->args, .call = parsed->call});
  if (makes_a_child(parsed->call)) {
    births_.push_back({.enter = enter, .clone_flags = parsed->clone_flags});
  }
  if (parsed->call == Syscall::execve) programs_[enter] = std::move(parsed->program);
  if (may_resume) open_[tid_] = {enter, std::string(text)};
  return {};
}

// "NAME resumed>REST": with what stood before <unfinished ...> it makes the whole line.
StraceLog::Result StraceLog::resumed(std::string_view text) {
  Scanner in(text);
  const auto name = in.take_until(" resumed>");
  if (!name) return std::unexpected("malformed <... resumed>");
  if (use_of(*name) != CallUse::read) return {};
  const auto it = open_.find(tid_);
  if (it == open_.end()) {
    const size_t equals = in.rest().rfind(" = ");  // Begun before the log.
    if (equals == in.rest().npos) return std::unexpected(excerpt(*name) + ": no result");
    const auto result = parse_strace_result(in.rest().substr(equals));
    if (!result) return std::unexpected(excerpt(*name) + ": " + result.error());
    if (*result) push(SyscallExit{.result = **result, .call = *find_strace_call(*name)});
    return {};
  }
  const Open open = std::move(it->second);
  open_.erase(it);
  std::string_view rest = in.rest();
  // Killed inside: "<... mmap resumed> <unfinished ...>) = ?"
  if (const size_t at = rest.find(kUnfinished); at != rest.npos) return {};
  Event& enter = events_[open.enter];
  if (find_strace_call(*name) != enter.as<SyscallEnter>()->call) {
    return std::unexpected("thread " + std::to_string(tid_) + " resumes " + excerpt(*name) +
                           ", which it has not entered");
  }
  auto parsed = parse_strace_call(open.text + std::string(rest));
  if (!parsed) return std::unexpected(parsed.error());
  if (!parsed->whole) return std::unexpected(excerpt(*name) + ": no result");
  enter.as<SyscallEnter>()->args = parsed->args;
  if (makes_a_child(parsed->call)) birth(open.enter)->clone_flags = parsed->clone_flags;
  if (parsed->result) left(open.enter, parsed->call, *parsed->result);
  return {};
}

std::vector<StraceBirth>::iterator StraceLog::birth(size_t enter) {
  return std::ranges::lower_bound(births_, enter, {}, &StraceBirth::enter);
}

void StraceLog::left(size_t enter, Syscall call, int64_t result) {
  if (call == Syscall::execve && result == 0) push(CommExec{names_.intern(programs_[enter])});
  if (makes_a_child(call)) {
    const auto of = birth(enter);
    of->exit = events_.size();
    if (result > 0) of->child_tid = static_cast<int32_t>(result);
  }
  push(SyscallExit{.result = result, .call = call});
}

void StraceLog::finish() {
  constexpr int32_t kAnyNumber = 1;
  for (Event& e : events_) {
    if (e.tid == kUnnamedThread) e.tid = kAnyNumber;
  }
}

}  // namespace pervma::trace

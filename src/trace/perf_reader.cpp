#include "trace/perf_reader.h"

#include <array>
#include <optional>
#include <string>
#include <utility>

#include "trace/linux_abi.h"
#include "trace/recording_builder.h"
#include "trace/scanner.h"

namespace pervma::trace {
namespace {

// One line at a time. A parse function answers false for a malformed line; `problem_` says more.
class PerfReader {
 public:
  explicit PerfReader(std::string file) : builder_(file, Source::perf), file_(std::move(file)) {}

  TraceResult<void> line(const Line& line);
  RecordingBuilder& builder() { return builder_; }

 private:
  enum class Outcome : uint8_t { event, ignored, malformed };

  bool header(Scanner& in);
  Outcome body(Scanner in);
  Outcome record(Scanner in);
  bool fault(Scanner in, bool user);
  bool lock(Scanner in);
  bool enter(Scanner in);
  bool leave(Scanner in);
  bool mmap2(Scanner in);
  bool fork(Scanner in);
  bool exit(Scanner in);
  bool comm(Scanner in);
  bool fail(std::string problem);

  RecordingBuilder builder_;
  std::string file_;
  Event event_;
  std::string problem_;
  std::string last_comm_;  // Lines of one thread come in a row: saves most look-ups.
  NameId last_comm_id_;
};

bool PerfReader::fail(std::string problem) {
  problem_ = std::move(problem);
  return false;
}

bool PerfReader::header(Scanner& in) {
  constexpr size_t kCommColumns = 16;
  const std::string_view text = in.rest();
  if (text.size() <= kCommColumns || text[kCommColumns] != ' ') return false;
  std::string_view name = text.substr(0, kCommColumns);
  while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
  in = Scanner(text.substr(kCommColumns));
  in.skip_spaces();
  const auto pid = in.take_pid();
  if (!pid || !in.take("/")) return false;
  const auto tid = in.take_pid();
  if (!tid || !in.take(" ")) return false;
  in.skip_spaces();
  const auto time = in.take_time();
  if (!time || !in.take(": ")) return false;
  in.skip_spaces();
  if (name != last_comm_) {
    last_comm_ = name;
    last_comm_id_ = builder_.intern(name);
  }
  event_.time_ns = *time;
  event_.pid = *pid;
  event_.tid = *tid;
  event_.comm = last_comm_id_;
  return true;
}

bool PerfReader::fault(Scanner in, bool user) {
  if (!in.take("address=")) return fail("page fault without address=");
  const auto address = in.take_hex();
  if (!address || !in.take(" ip=")) return fail("page fault with a malformed address= or no ip=");
  // The kernel's function may be followed by its module: "f [m]".
  const auto ip = in.take_until(" error_code=");
  if (!ip) return fail("page fault without error_code=");
  const auto code = in.take_hex();
  if (!code || *code > UINT32_MAX || !in.done()) return fail("page fault: malformed error_code=");
  if (!user) {
    event_.body = KernelFault{{*address}, static_cast<uint32_t>(*code), builder_.intern(*ip)};
    return true;
  }
  Scanner ip_in(*ip);
  const auto ip_value = ip_in.take_hex();
  if (!ip_value || !ip_in.done()) return fail("page fault: malformed ip=");
  event_.body = UserFault{{*address}, {*ip_value}, static_cast<uint32_t>(*code)};
  return true;
}

bool PerfReader::lock(Scanner in) {
  MmapLockAcquired lock;
  if (!in.take("mm=")) return fail("mmap lock event without mm=");
  const auto mm = in.take_hex();
  if (!mm) return fail("mmap lock event with a malformed mm=");
  lock.mm = *mm;
  // In between stands the memory cgroup: a number, or a path that may hold anything.
  constexpr std::string_view kWrite = " write=";
  const size_t write = in.rest().rfind(kWrite);
  if (write == std::string_view::npos) return fail("mmap lock event without write=");
  in = Scanner(in.rest().substr(write + kWrite.size()));
  if (in.take("true ")) {
    lock.mode = LockMode::write;
  } else if (!in.take("false ")) {
    return fail("mmap lock event with a malformed write=");
  }
  if (in.rest() == "success=false") {
    lock.outcome = LockOutcome::failed;
  } else if (in.rest() != "success=true") {
    return fail("mmap lock event without success=true or false");
  }
  event_.body = lock;
  return true;
}

bool PerfReader::enter(Scanner in) {
  const auto name = in.take_until(":");
  if (!name) return fail("system call without a name");
  const auto call = find_syscall(*name);
  if (!call) return fail("unknown system call '" + excerpt(*name) + "'");
  SyscallEnter enter{.call = *call};
  size_t i = 0;
  for (const std::string_view argument : argument_names(*call)) {
    const bool named = in.take(i == 0 ? " " : ", ") && in.take(argument) && in.take(": ");
    const auto value = named ? in.take_hex() : std::nullopt;
    if (!value) {
      return fail(std::string(*name) + ": argument '" + std::string(argument) +
                  "' is missing or malformed");
    }
    enter.args[i++] = *value;
  }
  in.skip_spaces();
  if (!in.done()) return fail(std::string(*name) + ": more than its arguments");
  event_.body = enter;
  return true;
}

bool PerfReader::leave(Scanner in) {
  const auto name = in.take_until(":");
  if (!name) return fail("system call without a name");
  const auto call = find_syscall(*name);
  if (!call) return fail("unknown system call '" + excerpt(*name) + "'");
  in.skip_spaces();
  const auto result = in.take_hex();
  if (!result || !in.done())
    return fail(std::string(*name) + ": its result is missing or malformed");
  event_.body = SyscallExit{.result = static_cast<int64_t>(*result), .call = *call};
  return true;
}

// "rwxp ", with - for what is missing and s for shared.
bool take_protection(Scanner& in, Mmap2& map) {
  constexpr std::pair<std::string_view, uint32_t> kRights[] = {
      {"r", abi::kProtRead}, {"w", abi::kProtWrite}, {"x", abi::kProtExec}};
  for (const auto& [letter, right] : kRights) {
    if (in.take(letter)) {
      map.prot |= right;
    } else if (!in.take("-")) {
      return false;
    }
  }
  if (in.take("s ")) {
    map.sharing = Sharing::shared;
    return true;
  }
  return in.take("p ");
}

// "[START(LEN) @ PGOFF MAJ:MIN INODE GENERATION]: rwxp NAME"
bool PerfReader::mmap2(Scanner in) {
  Mmap2 map;
  const auto pid = in.take_pid();
  const bool slash = pid && in.take("/");
  const auto tid = slash ? in.take_pid() : std::nullopt;
  if (!tid || !in.take(": [")) return fail("MMAP2 without its PID/TID and [");
  const auto start = in.take_hex();
  const auto length = start && in.take("(") ? in.take_hex() : std::nullopt;
  const auto range = length ? Range::from({*start}, *length) : std::nullopt;
  if (!range || range->empty() || !in.take(") @ ")) return fail("MMAP2: malformed START(LEN)");
  map.range = *range;
  const auto pgoff = in.rest().starts_with("0x") ? in.take_hex() : in.take_number();
  if (!pgoff || !in.take(" ")) return fail("MMAP2: malformed page offset");
  map.pgoff = *pgoff;
  const auto major = in.take_number<uint32_t>(16);
  const auto minor = major && in.take(":") ? in.take_number<uint32_t>(16) : std::nullopt;
  const auto inode = minor && in.take(" ") ? in.take_number() : std::nullopt;
  const auto generation = inode && in.take(" ") ? in.take_number() : std::nullopt;
  if (!generation || !in.take("]: ")) return fail("MMAP2: malformed device, inode or generation");
  map.dev_major = *major;
  map.dev_minor = *minor;
  map.inode = *inode;
  map.generation = *generation;

  if (!take_protection(in, map)) return fail("MMAP2: malformed protection");
  if (in.done()) return fail("MMAP2 without a name");
  map.name = builder_.intern(in.rest());
  event_.pid = *pid;
  event_.tid = *tid;
  event_.body = map;
  return true;
}

// Two pairs "(C:CT):(P:PT)".
std::optional<std::array<int32_t, 4>> take_pairs(Scanner in) {
  constexpr std::string_view kBefore[] = {"(", ":", "):(", ":"};
  std::array<int32_t, 4> out{};
  for (size_t i = 0; i < out.size(); ++i) {
    const auto value = in.take(kBefore[i]) ? in.take_pid() : std::nullopt;
    if (!value) return std::nullopt;
    out[i] = *value;
  }
  if (!in.take(")") || !in.done()) return std::nullopt;
  return out;
}

bool PerfReader::fork(Scanner in) {
  const auto ids = take_pairs(in);
  if (!ids) return fail("FORK: malformed (PID:TID):(PID:TID)");
  const auto [child_pid, child_tid, parent_pid, parent_tid] = *ids;
  event_.pid = parent_pid;
  event_.tid = parent_tid;
  event_.body = Fork{.child_pid = child_pid,
                     .child_tid = child_tid,
                     .parent_pid = parent_pid,
                     .parent_tid = parent_tid};
  return true;
}

bool PerfReader::exit(Scanner in) {
  const auto ids = take_pairs(in);
  if (!ids) return fail("EXIT: malformed (PID:TID):(PID:TID)");
  const auto [pid, tid, parent_pid, parent_tid] = *ids;
  event_.pid = pid;
  event_.tid = tid;
  event_.body = Exit{.parent_pid = parent_pid, .parent_tid = parent_tid};
  return true;
}

// ": NAME:PID/TID" or " exec: NAME:PID/TID"; NAME may hold colons.
bool PerfReader::comm(Scanner in) {
  const bool is_exec = in.take(" exec");
  if (!in.take(": ")) return fail("COMM: malformed");
  const size_t colon = in.rest().rfind(':');
  if (colon == std::string_view::npos) return fail("COMM without PID/TID");
  const std::string_view name = in.rest().substr(0, colon);
  Scanner ids(in.rest().substr(colon + 1));
  const auto pid = ids.take_pid();
  const auto tid = pid && ids.take("/") ? ids.take_pid() : std::nullopt;
  if (!tid || !ids.done()) return fail("COMM: malformed PID/TID");
  event_.pid = *pid;
  event_.tid = *tid;
  const NameId id = builder_.intern(name);
  event_.body = is_exec ? EventBody(CommExec{id}) : EventBody(Comm{id});
  return true;
}

PerfReader::Outcome PerfReader::record(Scanner in) {
  const auto outcome = [](bool good) { return good ? Outcome::event : Outcome::malformed; };
  if (in.take("MMAP2 ")) return outcome(mmap2(in));
  if (in.take("FORK")) return outcome(fork(in));
  if (in.take("EXIT")) return outcome(exit(in));
  if (in.take("COMM")) return outcome(comm(in));
  if (in.take("LOST")) {
    return outcome(fail("events were lost while recording; record again with a larger buffer"));
  }
  // The kernel's own text and modules have pid -1.
  if (in.take("MMAP -1/")) return Outcome::ignored;
  return outcome(fail("unknown record 'PERF_RECORD_" + excerpt(in.rest()) + "'"));
}

PerfReader::Outcome PerfReader::body(Scanner in) {
  const auto outcome = [](bool good) { return good ? Outcome::event : Outcome::malformed; };
  if (in.take("exceptions:page_fault_user: ")) return outcome(fault(in, true));
  if (in.take("mmap_lock:mmap_lock_acquire_returned: ")) return outcome(lock(in));
  if (in.take("syscalls:sys_enter_")) return outcome(enter(in));
  if (in.take("syscalls:sys_exit_")) return outcome(leave(in));
  if (in.take("PERF_RECORD_")) return record(in);
  if (in.take("exceptions:page_fault_kernel: ")) return outcome(fault(in, false));
  return outcome(fail("unknown event '" + excerpt(in.rest()) + "'"));
}

TraceResult<void> PerfReader::line(const Line& line) {
  event_ = Event{};
  event_.line = line.number;
  problem_.clear();
  Scanner in(line.text);
  Outcome outcome = Outcome::malformed;
  if (header(in)) {
    outcome = body(in);
  } else if (line.text.find("LOST") != line.text.npos) {
    fail("events were lost while recording: '" + excerpt(line.text) + "'");
  } else {
    fail((line.number == 1 ? "neither the text of perf script nor of strace -f -ttt: '"
                           : "not a line of perf script: '") +
         excerpt(line.text) + "'");
  }
  if (outcome == Outcome::ignored) return {};
  if (outcome == Outcome::event) return builder_.add(event_);
  return std::unexpected(TraceError{file_, line.number, problem_});
}

}  // namespace

TraceResult<Recording> read_perf(LineSource& source, Line first) {
  PerfReader reader(source.path());
  std::optional<Line> line = first;
  uint32_t cut_line = 0;
  while (line) {
    // Its last number may be half of what it was. Alone in the file it is worth an error.
    if (line->end == LineEnd::end_of_file && line->number > 1) {
      cut_line = line->number;
      break;
    }
    if (auto good = reader.line(*line); !good) return std::unexpected(std::move(good.error()));
    auto next = source.next();
    if (!next) return std::unexpected(std::move(next.error()));
    line = *next;
  }
  return std::move(reader.builder()).finish(source.lines_read(), cut_line);
}

}  // namespace pervma::trace

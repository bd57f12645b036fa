#include "trace/strace_reader.h"

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "trace/linux_abi.h"
#include "trace/recording_builder.h"
#include "trace/scanner.h"
#include "trace/strace_log.h"

namespace pervma::trace {
namespace {

// Forks, by the event before which each has to be put.
using Insertions = std::multimap<size_t, Event>;

bool is_thread(const StraceBirth& birth) { return (birth.clone_flags & abi::kCloneThread) != 0; }

ChildSpace space_of(const StraceBirth& birth, Syscall call) {
  if (call == Syscall::fork) return ChildSpace::copied;
  if (call == Syscall::vfork) return ChildSpace::shared;
  return (birth.clone_flags & abi::kCloneVm) != 0 ? ChildSpace::shared : ChildSpace::copied;
}

// Gives calls that never returned (the log was cut) the threads that nobody else made.
void adopt_orphans(const std::vector<Event>& events, std::vector<StraceBirth>& births) {
  std::unordered_set<int32_t> known;
  if (!events.empty()) known.insert(events.front().tid);
  for (const StraceBirth& b : births) known.insert(b.child_tid);
  for (size_t i = 0; i < events.size(); ++i) {
    if (!known.insert(events[i].tid).second) continue;
    const auto parent = std::ranges::find_if(births, [&](const StraceBirth& b) {
      return b.exit == SIZE_MAX && b.child_tid == 0 && b.enter < i;
    });
    if (parent != births.end()) parent->child_tid = events[i].tid;
  }
}

// A child is born before its first line, at the latest when its parent's call returns.
Insertions find_forks(const std::vector<Event>& events, const std::vector<StraceBirth>& births) {
  std::unordered_map<int32_t, std::vector<size_t>> lines_of;  // By tid, ascending.
  for (size_t i = 0; i < events.size(); ++i) lines_of[events[i].tid].push_back(i);
  Insertions out;
  for (const StraceBirth& birth : births) {
    if (birth.child_tid <= 0) continue;
    const auto& own = lines_of[birth.child_tid];
    const auto first = std::ranges::upper_bound(own, birth.enter);
    const size_t at = std::min(first == own.end() ? SIZE_MAX : *first, birth.exit);
    if (at == SIZE_MAX) continue;
    const Event& enter = events[birth.enter];
    Event event = events[at];
    event.tid = birth.exit == SIZE_MAX ? enter.tid : events[birth.exit].tid;
    event.line = birth.exit == SIZE_MAX ? enter.line : events[birth.exit].line;
    event.body = Fork{.child_tid = birth.child_tid,
                      .parent_tid = event.tid,
                      .space = space_of(birth, enter.as<SyscallEnter>()->call)};
    // Until its pid is known, child_pid says whether it will be its parent's.
    std::get<Fork>(event.body).child_pid = is_thread(birth) ? 0 : birth.child_tid;
    out.emplace(at, event);
  }
  return out;
}

// Knows to which process a thread belongs.
class Processes {
 public:
  void set_pids(Event& event) {
    event.pid = pid_of(event.tid);
    if (auto* fork = event.as<Fork>()) {
      fork->parent_pid = event.pid;
      if (fork->child_pid == 0) fork->child_pid = event.pid;
      pids_[fork->child_tid] = fork->child_pid;
    } else if (event.as<Exit>() != nullptr) {
      pids_.erase(event.tid);
    }
  }

 private:
  int32_t pid_of(int32_t tid) { return pids_.try_emplace(tid, tid).first->second; }

  std::unordered_map<int32_t, int32_t> pids_;
};

TraceResult<Recording> build(StraceLog& log, RecordingBuilder& builder, uint32_t lines,
                             uint32_t cut_line) {
  log.finish();
  std::vector<StraceBirth> births = log.births();
  adopt_orphans(log.events(), births);
  const Insertions forks = find_forks(log.events(), births);
  Processes processes;
  auto fork = forks.begin();
  for (size_t i = 0; i < log.events().size(); ++i) {
    for (; fork != forks.end() && fork->first == i; ++fork) {
      Event born = fork->second;
      processes.set_pids(born);
      if (auto good = builder.add(born); !good) return std::unexpected(std::move(good.error()));
    }
    Event& event = log.events()[i];
    processes.set_pids(event);
    if (auto good = builder.add(event); !good) return std::unexpected(std::move(good.error()));
  }
  return std::move(builder).finish(lines, cut_line);
}

}  // namespace

bool looks_like_strace(std::string_view first_line) noexcept {
  Scanner in(first_line);
  if (in.take("strace: ")) return true;
  if (!take_strace_thread(in)) return false;
  return in.take_time() && in.take(" ") && !in.done();
}

TraceResult<Recording> read_strace(LineSource& source, Line first) {
  RecordingBuilder builder(source.path(), Source::strace);
  StraceLog log(builder);
  std::optional<Line> line = first;
  uint32_t cut_line = 0;
  while (line) {
    if (line->end == LineEnd::end_of_file && line->number > 1) {
      cut_line = line->number;
      break;
    }
    if (auto good = log.add(*line); !good) {
      return std::unexpected(source.error(std::move(good.error())));
    }
    auto next = source.next();
    if (!next) return std::unexpected(std::move(next.error()));
    line = *next;
  }
  return build(log, builder, source.lines_read(), cut_line);
}

}  // namespace pervma::trace

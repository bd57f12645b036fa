#include "trace/recording_builder.h"

#include <algorithm>
#include <utility>

#include "trace/linux_abi.h"

namespace pervma::trace {
namespace {

std::string base_name(std::string_view path) {
  if (const size_t slash = path.rfind('/'); slash != path.npos) path.remove_prefix(slash + 1);
  for (const std::string_view ending : {".xz", ".zst", ".gz", ".txt", ".strace", ".log"}) {
    if (path.size() > ending.size() && path.ends_with(ending)) path.remove_suffix(ending.size());
  }
  return std::string(path);
}

}  // namespace

RecordingBuilder::RecordingBuilder(std::string file, Source source) {
  recording_.name = base_name(file);
  recording_.file = std::move(file);
  recording_.source = source;
}

TraceError RecordingBuilder::error(uint32_t line, std::string message) const {
  return {recording_.file, line, std::move(message)};
}

ThreadIndex RecordingBuilder::add_thread(int32_t pid, int32_t tid, ThreadIndex parent,
                                         EventIndex created) {
  const auto index = static_cast<ThreadIndex>(recording_.threads.size());
  recording_.threads.push_back({.pid = pid, .tid = tid, .parent = parent, .created = created});
  live_[tid] = Live{.thread = index};
  if (pid == tid) {
    auto& processes = recording_.processes;
    // A leader that exited before another thread's exec comes back as that thread: no new process.
    const bool known = created == kNoEvent && std::ranges::any_of(processes, [&](const Process& p) {
                         return p.pid == pid && recording_.threads[p.leader].end != ThreadEnd::none;
                       });
    if (!known) processes.push_back({.pid = pid, .created = created, .leader = index});
  }
  return index;
}

RecordingBuilder::Live& RecordingBuilder::live(int32_t pid, int32_t tid) {
  const auto it = live_.find(tid);
  if (it != live_.end()) return it->second;
  add_thread(pid, tid, kNoThread, kNoEvent);
  return live_[tid];
}

TraceResult<void> RecordingBuilder::enter(Event& event, Live& live, EventIndex index) {
  const auto& enter = *event.as<SyscallEnter>();
  if (live.open != kNoEvent) {
    const Event& open = recording_.events[live.open];
    return std::unexpected(
        error(event.line, "thread " + std::to_string(event.tid) + " enters " +
                              std::string(syscall_name(enter.call)) + " while its " +
                              std::string(syscall_name(open.as<SyscallEnter>()->call)) +
                              " of line " + std::to_string(open.line) + " has not returned"));
  }
  live.open = index;
  live.has_called = true;
  live.locked_mm = 0;
  live.locked_other = false;
  return {};
}

TraceResult<void> RecordingBuilder::leave(Event& event, Live& live, EventIndex index) {
  auto& exit = *event.as<SyscallExit>();
  if (live.open == kNoEvent) {
    if (live.has_called) {
      return std::unexpected(error(
          event.line, "thread " + std::to_string(event.tid) + " returns from " +
                          std::string(syscall_name(exit.call)) + ", which it has not entered"));
    }
    live.has_called = true;  // Begun before the recording, or the first return of a new child.
    return {};
  }
  auto& open = *recording_.events[live.open].as<SyscallEnter>();
  if (open.call != exit.call) {
    return std::unexpected(
        error(event.line, "thread " + std::to_string(event.tid) + " returns from " +
                              std::string(syscall_name(exit.call)) + " while it is in " +
                              std::string(syscall_name(open.call)) + " of line " +
                              std::to_string(recording_.events[live.open].line)));
  }
  exit.enter = live.open;
  open.exit = index;
  live.open = kNoEvent;
  return {};
}

ChildSpace RecordingBuilder::child_space(const Fork& fork, const Live& live) const {
  if (fork.child_pid == fork.parent_pid) return ChildSpace::shared;
  if (fork.space != ChildSpace::unknown) return fork.space;
  if (live.open == kNoEvent) return ChildSpace::unknown;
  const auto& enter = *recording_.events[live.open].as<SyscallEnter>();
  switch (enter.call) {
    case Syscall::fork: return ChildSpace::copied;
    case Syscall::vfork: return ChildSpace::shared;
    case Syscall::clone:
      return (enter.args[0] & abi::kCloneVm) != 0 ? ChildSpace::shared : ChildSpace::copied;
    case Syscall::clone3:
      if (recording_.source != Source::perf) return ChildSpace::unknown;
      return live.locked_other ? ChildSpace::copied : ChildSpace::shared;
    default: return ChildSpace::unknown;
  }
}

void RecordingBuilder::fork(Event& event, Live& live, EventIndex index) {
  auto& fork = *event.as<Fork>();
  fork.space = child_space(fork, live);
  const ThreadIndex parent = live.thread;
  fork.child = add_thread(fork.child_pid, fork.child_tid, parent, index);  // Ends `live`.
  if (fork.child_pid == fork.child_tid) {
    recording_.processes.back().parent_pid = fork.parent_pid;
    recording_.processes.back().space = fork.space;
  }
}

void RecordingBuilder::exec(const Event& event, EventIndex index) {
  // Exec ends every other thread, and a thread that is not the leader takes the leader's place: its
  // open execve is the one that will return under the leader's tid.
  EventIndex open = kNoEvent;
  for (auto it = live_.begin(); it != live_.end();) {
    Thread& other = recording_.threads[it->second.thread];
    if (other.pid != event.pid || other.tid == event.tid) {
      ++it;
      continue;
    }
    if (it->second.open != kNoEvent) {
      const auto& call = *recording_.events[it->second.open].as<SyscallEnter>();
      if (call.call == Syscall::execve) open = it->second.open;
    }
    other.end = ThreadEnd::exec;
    it = live_.erase(it);
  }
  Live& self = live(event.pid, event.tid);
  recording_.threads[self.thread].last = index;
  if (open != kNoEvent) {
    self.open = open;
    self.has_called = true;
  }
}

void RecordingBuilder::note_lock(const MmapLockAcquired& lock, Live& live) {
  LockCounts& counts = recording_.recorded_mmap_lock;
  const bool write = lock.mode == LockMode::write;
  if (lock.outcome == LockOutcome::failed) {
    ++(write ? counts.failed_write : counts.failed_read);
    return;
  }
  ++(write ? counts.write : counts.read);
  if (!write || live.open == kNoEvent) return;
  if (live.locked_mm == 0) live.locked_mm = lock.mm;
  live.locked_other |= live.locked_mm != lock.mm;
}

TraceResult<void> RecordingBuilder::add(Event event) {
  if (event.time_ns < last_time_ns_) {
    return std::unexpected(error(event.line, "time goes backwards"));
  }
  if (recording_.events.size() >= kNoEvent - 1) {
    return std::unexpected(error(event.line, "more than 2^32 events"));
  }
  last_time_ns_ = event.time_ns;
  const auto index = static_cast<EventIndex>(recording_.events.size());
  if (event.as<CommExec>() != nullptr) exec(event, index);
  Live& self = live(event.pid, event.tid);
  event.thread = self.thread;
  event.call = self.open;
  Thread& thread = recording_.threads[self.thread];
  if (thread.first == kNoEvent) thread.first = index;
  thread.last = index;

  TraceResult<void> result;
  if (event.as<SyscallEnter>() != nullptr) {
    result = enter(event, self, index);
  } else if (event.as<SyscallExit>() != nullptr) {
    result = leave(event, self, index);
  } else if (event.as<Fork>() != nullptr) {
    fork(event, self, index);
  } else if (event.as<Exit>() != nullptr) {
    thread.end = ThreadEnd::exit;
    live_.erase(event.tid);
  } else if (const auto* lock = event.as<MmapLockAcquired>()) {
    note_lock(*lock, self);
  } else if (event.as<UserFault>() != nullptr) {
    ++recording_.user_faults;
  } else if (event.as<KernelFault>() != nullptr) {
    ++recording_.kernel_faults;
  }
  if (result) recording_.events.push_back(event);
  return result;
}

TraceResult<Recording> RecordingBuilder::finish(uint32_t lines, uint32_t cut_line) && {
  // perf names the program even where nothing of it was recorded.
  const bool empty = std::ranges::all_of(recording_.events,
                                         [](const Event& e) { return e.as<Comm>() != nullptr; });
  if (empty) return std::unexpected(error(lines, "the recording is empty"));
  for (const auto& [tid, live] : live_) {
    if (live.open == kNoEvent) continue;
    const Event& enter = recording_.events[live.open];
    const Syscall call = enter.as<SyscallEnter>()->call;
    if (!never_returns(call)) recording_.open_calls.push_back({tid, enter.line, call});
  }
  std::ranges::sort(recording_.open_calls, {}, &OpenCall::line);
  recording_.lines = lines;
  recording_.cut_line = cut_line;
  return std::move(recording_);
}

}  // namespace pervma::trace

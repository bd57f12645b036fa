// recording.h: a whole recording in memory: its events in file order, its threads and processes,
// and which exit belongs to which enter. Immutable once read; safe to read from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "trace/event.h"
#include "trace/trace_error.h"

namespace pervma::trace {

// Texts kept once each. Views of them stay valid for as long as the table lives, moved or not.
class NameTable {
 public:
  NameTable();
  NameTable(NameTable&&) = default;
  NameTable& operator=(NameTable&&) = default;
  NameTable(const NameTable&) = delete;
  NameTable& operator=(const NameTable&) = delete;

  NameId intern(std::string_view text);
  std::string_view text(NameId id) const { return *texts_[id.value]; }
  size_t size() const noexcept { return texts_.size(); }

 private:
  std::vector<std::unique_ptr<const std::string>>
      texts_;  // Never moved: the keys are views of them.
  std::unordered_map<std::string_view, uint32_t> ids_;
};

enum class Source : uint8_t { perf, strace };

enum class ThreadEnd : uint8_t {
  none,  // Still there at the end of the recording.
  exit,  // An exit event.
  exec,  // It, or another thread of its process, called exec.
};

struct Thread {
  int32_t pid = 0;
  int32_t tid = 0;
  ThreadIndex parent = kNoThread;  // kNoThread: was there when the recording began.
  EventIndex created = kNoEvent;   // Its Fork event.
  EventIndex first = kNoEvent;     // Its own first and last event.
  EventIndex last = kNoEvent;
  ThreadEnd end = ThreadEnd::none;
};

struct Process {
  int32_t pid = 0;
  int32_t parent_pid = 0;         // 0: was there when the recording began.
  EventIndex created = kNoEvent;  // Its Fork event.
  ThreadIndex leader = kNoThread;
  ChildSpace space = ChildSpace::unknown;
};

// How often the kernel took its mmap lock; failed trylocks apart. Downgrades count as reads.
struct LockCounts {
  uint64_t read = 0;
  uint64_t write = 0;
  uint64_t failed_read = 0;
  uint64_t failed_write = 0;
};

// A call that was still going on where the recording ends.
struct OpenCall {
  int32_t tid = 0;
  uint32_t line = 0;  // Of its enter.
  Syscall call = Syscall::mmap;
};

struct Recording {
  std::string file;  // As given to read_recording().
  std::string name;  // The file's name without folder and endings: "jvm-threads".
  Source source = Source::perf;
  std::vector<Event> events;
  std::vector<Thread> threads;
  std::vector<Process> processes;
  std::vector<OpenCall> open_calls;
  uint32_t lines = 0;
  uint32_t cut_line = 0;  // The last line, left out because it has no newline; 0: none.
  uint64_t user_faults = 0;
  uint64_t kernel_faults = 0;
  LockCounts recorded_mmap_lock;
  NameTable names;

  std::string_view text(NameId id) const { return names.text(id); }
  // Cut in the middle of a call or of a line: what is there can be replayed, but it is not whole.
  bool ends_inside_a_call() const noexcept { return !open_calls.empty() || cut_line != 0; }
};

// Reads a recording: the text of `perf script` (as its recorder prints it) or of `strace -f -ttt`,
// plain or compressed; which it is, is told by the content. O(size); memory about 10 bytes per byte
// of text.
[[nodiscard]] TraceResult<Recording> read_recording(const std::string& path) noexcept;

}  // namespace pervma::trace

// recording_builder.h: puts events together to a Recording: finds their threads, pairs enters with
// exits, follows forks and execs, and refuses an order of events that no kernel produces.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "trace/recording.h"

namespace pervma::trace {

class RecordingBuilder {
 public:
  RecordingBuilder(std::string file, Source source);

  NameId intern(std::string_view text) { return recording_.names.intern(text); }

  // Takes the next event, in the order of the log. Fills in its thread, call and partners. Refuses
  // time that goes backwards, a call entered inside a call, and an exit that fits no enter.
  [[nodiscard]] TraceResult<void> add(Event event);

  // Ends the recording. `cut_line` is the number of a last line that had to be left out, or 0.
  [[nodiscard]] TraceResult<Recording> finish(uint32_t lines, uint32_t cut_line) &&;

 private:
  // What is known of a live thread.
  struct Live {
    ThreadIndex thread = kNoThread;
    EventIndex open = kNoEvent;  // The call it is in.
    bool has_called = false;     // It may no longer show an exit without its enter.
    uint64_t locked_mm = 0;      // The space that its open call locked for write first;
    bool locked_other = false;   // it then locked another one.
  };

  TraceError error(uint32_t line, std::string message) const;
  Live& live(int32_t pid, int32_t tid);
  ThreadIndex add_thread(int32_t pid, int32_t tid, ThreadIndex parent, EventIndex created);

  TraceResult<void> enter(Event& event, Live& live, EventIndex index);
  TraceResult<void> leave(Event& event, Live& live, EventIndex index);
  void fork(Event& event, Live& live, EventIndex index);
  void exec(const Event& event, EventIndex index);
  void note_lock(const MmapLockAcquired& lock, Live& live);
  ChildSpace child_space(const Fork& fork, const Live& live) const;

  Recording recording_;
  std::unordered_map<int32_t, Live> live_;  // By tid.
  uint64_t last_time_ns_ = 0;
};

}  // namespace pervma::trace

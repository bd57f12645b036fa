// script_maker.h: how a script is made of a recording: one walk through its events, which keeps
// what each thread and process is in the middle of. Used by script.cpp (faults, processes) and
// script_calls.cpp (system calls) alone.
#pragma once

#include <map>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "trace/recorded_map.h"
#include "trace/script.h"

namespace pervma::trace {

// Builds a script by walking through the events once.
class ScriptMaker {
 public:
  explicit ScriptMaker(const Recording& recording) : rec_(recording) {}

  TraceResult<Script> make();

 private:
  struct ThreadState {
    OpIndex last_op = kNoOp;     // its latest operation, by order_ key
    OpIndex open_fault = kNoOp;  // its latest event is this fault
    EventIndex last_position = 0;
  };
  struct ProcessState {
    SpaceIndex space = 0;
    uint32_t live_threads = 0;
    bool in_exec = false;
    bool borrowed = false;  // a vfork's child before its exec: the space is its parent's
    std::vector<EventIndex> exec_maps;
  };
  struct OpenCall {
    OpIndex op;
    ThreadIndex thread;
    SpaceIndex space;
    Range range;
  };

  TraceResult<void> handle(EventIndex);
  void fault(EventIndex, const Event&, uint32_t code, Address, OpKind);
  TraceResult<void> enter(EventIndex, const Event&, const SyscallEnter&);
  bool counts_from_return(const SyscallEnter&) const;
  TraceResult<void> call(const Event&, const SyscallEnter&, EventIndex position);
  TraceResult<void> call_op(Op&, const Event&, const SyscallEnter&, const SyscallExit&);
  static void remap_op(Op&, const SyscallEnter&, const SyscallExit&);
  TraceResult<void> map_op(Op&, const Event&, const SyscallEnter&, const SyscallExit&);
  void seen(const Event&, const Mmap2&);
  void exec_done(const Event&, ProcessState&);
  void forked(EventIndex, const Event&, const Fork&);
  void ended(EventIndex, const Event&);
  void new_space_for(EventIndex, const Event&, ProcessState&);
  void apply_to_recorded(const Op&);
  OpIndex add(Op, EventIndex position);
  uint32_t file_of(const Mmap2&);
  SeenMapping seen_mapping(const Event&, const Mmap2&) const;
  const Mmap2* mmap2_in(EventIndex enter, EventIndex exit, ThreadIndex) const;
  EventIndex write_lock_in(EventIndex enter, EventIndex exit, ThreadIndex) const;
  void mark_open_faults(SpaceIndex, ThreadIndex, Range);
  TraceError error(const Event& e, std::string message) const {
    return {rec_.file, e.line, std::move(message)};
  }

  const Recording& rec_;
  Script script_;
  std::vector<EventIndex> position_;  // of each op
  std::vector<ThreadState> threads_;
  std::unordered_map<int32_t, ProcessState> processes_;
  std::vector<RecordedMap> recorded_;  // by space
  std::map<std::tuple<uint32_t, uint32_t, uint64_t>, uint32_t> files_;
  std::unordered_map<EventIndex, OpIndex> op_of_call_;
  std::vector<OpenCall> open_calls_;
  uint64_t skipped_unknown_ = 0;
};

}  // namespace pervma::trace

#include "trace/script.h"

#include <algorithm>

#include "trace/script_maker.h"

namespace pervma::trace {

Range Op::range() const noexcept {
  switch (kind) {
    case OpKind::user_fault:
    case OpKind::kernel_fault: return {address.page_down(), address.page_down() + kPageSize};
    case OpKind::new_space:
    case OpKind::fork:
    case OpKind::exit:
    case OpKind::lock_all:
    case OpKind::unlock_all: return {};
    default: {
      const uint64_t bytes = page_align_up(length).value_or(0);
      return {address.page_down(), address + bytes};
    }
  }
}

OpIndex ScriptMaker::add(Op op, EventIndex position) {
  ThreadState& t = threads_[op.thread];
  t.last_position = position = std::max(position, t.last_position);
  const auto index = static_cast<OpIndex>(script_.ops.size());
  t.last_op = index;
  script_.ops.push_back(op);
  position_.push_back(position);
  return index;
}

uint32_t ScriptMaker::file_of(const Mmap2& m) {
  if (m.inode == 0) return 0;
  const auto key = std::make_tuple(m.dev_major, m.dev_minor, m.inode);
  auto [it, fresh] = files_.try_emplace(key, static_cast<uint32_t>(script_.files.size()));
  if (fresh) {
    script_.files.push_back({m.dev_major, m.dev_minor, m.inode, std::string(rec_.text(m.name))});
  }
  return it->second;
}

SeenMapping ScriptMaker::seen_mapping(const Event& e, const Mmap2& m) const {
  return {m.range,     m.pgoff >> kPageShift,     m.inode,   m.dev_major,
          m.dev_minor, static_cast<Prot>(m.prot), m.sharing, e.line};
}

EventIndex ScriptMaker::write_lock_in(EventIndex enter, EventIndex exit, ThreadIndex thread) const {
  for (EventIndex i = enter + 1; i < exit; ++i) {
    const Event& e = rec_.events[i];
    if (e.thread != thread) continue;
    const auto* lock = e.as<MmapLockAcquired>();
    if (lock != nullptr && lock->mode == LockMode::write) return i;
  }
  return enter;
}

const Mmap2* ScriptMaker::mmap2_in(EventIndex enter, EventIndex exit, ThreadIndex thread) const {
  for (EventIndex i = enter + 1; i < exit; ++i) {
    const Event& e = rec_.events[i];
    if (e.thread != thread) continue;
    if (const auto* m = e.as<Mmap2>()) return m;
  }
  return nullptr;
}

// Faults of other threads that may not have been served yet when this call began.
void ScriptMaker::mark_open_faults(SpaceIndex space, ThreadIndex caller, Range range) {
  for (ThreadIndex t = 0; t < threads_.size(); ++t) {
    if (t == caller || threads_[t].open_fault == kNoOp) continue;
    Op& fault = script_.ops[threads_[t].open_fault];
    if (fault.space == space && range.contains(fault.address)) fault.fault_end = FaultEnd::either;
  }
}

void ScriptMaker::fault(EventIndex i, const Event& e, uint32_t code, Address address, OpKind kind) {
  const ProcessState& p = processes_[e.pid];
  Op op;
  op.kind = kind;
  op.line = e.line;
  op.thread = e.thread;
  op.space = p.space;
  op.error_code = code;
  op.address = address;
  // A stack that grows says so in the same thread's next records.
  EventIndex position = i;
  for (EventIndex j = i + 1; j < rec_.events.size() && j < i + 4096; ++j) {
    const Event& later = rec_.events[j];
    if (later.thread != e.thread) continue;
    if (const auto* lock = later.as<MmapLockAcquired>()) {
      if (lock->mode == LockMode::write) position = j;
      continue;
    }
    if (const auto* m = later.as<Mmap2>();
        m != nullptr && later.call == e.call && position != i && m->range.contains(address)) {
      op.writes_map = true;
      op.first_seen = static_cast<uint32_t>(script_.seen.size());
      op.seen_count = 1;
      script_.seen.push_back(seen_mapping(later, *m));
    }
    break;
  }
  if (!op.writes_map) position = i;
  const bool allowed = op.writes_map || recorded_[p.space].allows(address, code);
  op.fault_end = allowed ? FaultEnd::resolved : FaultEnd::refused;
  for (const OpenCall& call : open_calls_) {
    if (call.space == p.space && call.thread != e.thread && call.range.contains(address)) {
      op.fault_end = FaultEnd::either;
    }
  }
  if (op.writes_map) {
    const SeenMapping& grown = script_.seen[op.first_seen];
    recorded_[p.space].map(grown.range, {grown.prot, true});
  }
  const OpIndex index = add(op, position);
  if (kind == OpKind::user_fault) {
    ++script_.user_faults;
    threads_[e.thread].open_fault = index;
  }
}

void ScriptMaker::seen(const Event& e, const Mmap2& m) {
  ProcessState& p = processes_[e.pid];
  if (p.in_exec) {
    p.exec_maps.push_back(static_cast<EventIndex>(&e - rec_.events.data()));
    exec_done(e, p);
    return;
  }
  if (e.call == kNoEvent) return;  // A stack's growth: taken with its fault.
  const auto it = op_of_call_.find(e.call);
  if (it == op_of_call_.end()) return;
  Op& op = script_.ops[it->second];
  // The records of one call are collected when its first is met: others may come in between.
  if (op.seen_count != 0) return;
  op.first_seen = static_cast<uint32_t>(script_.seen.size());
  const auto* in = rec_.events[e.call].as<SyscallEnter>();
  for (auto j = static_cast<EventIndex>(&e - rec_.events.data()); j < in->exit; ++j) {
    const Event& later = rec_.events[j];
    const auto* record = later.as<Mmap2>();
    if (later.thread != e.thread || record == nullptr) continue;
    // A stack that the kernel itself grew inside the call is its fault's.
    script_.seen.push_back(seen_mapping(later, *record));
    ++op.seen_count;
  }
  (void)m;
}

// Turns the mapping that exec just recorded into an operation.
void ScriptMaker::exec_done(const Event& e, ProcessState& p) {
  const EventIndex here = p.exec_maps.back();
  const auto& m = *e.as<Mmap2>();
  const std::string_view name = rec_.text(m.name);
  if (p.exec_maps.size() > 1) {
    // A loader's reservation covers all of a file's segments; what follows the first is cut off
    // before the next is mapped.
    const auto& before = *rec_.events[p.exec_maps[p.exec_maps.size() - 2]].as<Mmap2>();
    if (before.inode != 0 && before.inode == m.inode && before.range.contains(m.range.start) &&
        before.range.start < m.range.start) {
      Op cut;
      cut.kind = OpKind::exec_unmap;
      cut.writes_map = true;
      cut.line = e.line;
      cut.thread = e.thread;
      cut.space = p.space;
      cut.address = m.range.start;
      cut.length = before.range.end - m.range.start;
      apply_to_recorded(cut);
      add(cut, here);
    }
  }
  Op op;
  op.kind = name == "[stack]" ? OpKind::exec_stack : OpKind::exec_map;
  op.writes_map = true;
  op.line = e.line;
  op.thread = e.thread;
  op.space = p.space;
  op.file = file_of(m);
  op.address = m.range.start;
  op.length = m.range.bytes();
  op.arg = m.prot;
  op.offset = m.pgoff;
  op.result = static_cast<int64_t>(m.range.start.value);
  op.first_seen = static_cast<uint32_t>(script_.seen.size());
  op.seen_count = 1;
  script_.seen.push_back(seen_mapping(e, m));
  if (name.starts_with("[v")) {
    op.flags = 1;  // The system's own: a special mapping.
    script_.files.push_back({0, 0, 0, std::string(name)});
    op.file = static_cast<uint32_t>(script_.files.size() - 1);
  }
  recorded_[p.space].map(m.range, {static_cast<Prot>(m.prot), op.kind == OpKind::exec_stack});
  add(op, here);
}

void ScriptMaker::new_space_for(EventIndex i, const Event& e, ProcessState& p) {
  if (!p.borrowed && p.space != 0) {
    Op gone;
    gone.kind = OpKind::exit;
    gone.writes_map = true;
    gone.line = e.line;
    gone.thread = e.thread;
    gone.space = p.space;
    add(gone, i);
  }
  p.borrowed = false;
  p.space = static_cast<SpaceIndex>(script_.spaces.size());
  script_.spaces.emplace_back();
  recorded_.emplace_back();
  Op op;
  op.kind = OpKind::new_space;
  op.writes_map = true;
  op.line = e.line;
  op.thread = e.thread;
  op.space = p.space;
  add(op, i);
}

void ScriptMaker::forked(EventIndex i, const Event& e, const Fork& f) {
  ProcessState& parent = processes_[f.parent_pid];
  if (f.child_pid == f.parent_pid) {
    ++parent.live_threads;
    return;
  }
  const SpaceIndex from = parent.space;
  ProcessState child;
  child.live_threads = 1;
  child.space = from;
  child.borrowed = f.space == ChildSpace::shared;
  if (!child.borrowed) {
    child.space = static_cast<SpaceIndex>(script_.spaces.size());
    script_.spaces.push_back(script_.spaces[from]);
    recorded_.push_back(recorded_[from]);
    Op op;
    op.kind = OpKind::fork;
    op.writes_map = true;
    op.line = e.line;
    op.thread = e.thread;
    op.space = from;
    op.other = child.space;
    add(op, e.call != kNoEvent ? write_lock_in(e.call, i, e.thread) : i);
  }
  processes_[f.child_pid] = std::move(child);
}

void ScriptMaker::ended(EventIndex i, const Event& e) {
  threads_[e.thread].open_fault = kNoOp;
  const auto it = processes_.find(e.pid);
  if (it == processes_.end()) return;
  ProcessState& p = it->second;
  if (p.live_threads > 1) {
    --p.live_threads;
    return;
  }
  if (!p.borrowed && p.space != 0) {
    Op op;
    op.kind = OpKind::exit;
    op.writes_map = true;
    op.line = e.line;
    op.thread = e.thread;
    op.space = p.space;
    add(op, i);
  }
  processes_.erase(it);
}

TraceResult<void> ScriptMaker::handle(EventIndex i) {
  const Event& e = rec_.events[i];
  if (e.thread == kNoThread) return {};
  ThreadState& t = threads_[e.thread];
  if (e.as<MmapLockAcquired>() != nullptr) return {};
  t.open_fault = kNoOp;
  if (const auto* f = e.as<UserFault>()) {
    fault(i, e, f->error_code, f->address, OpKind::user_fault);
  } else if (const auto* k = e.as<KernelFault>()) {
    fault(i, e, k->error_code, k->address, OpKind::kernel_fault);
  } else if (const auto* in = e.as<SyscallEnter>()) {
    return enter(i, e, *in);
  } else if (const auto* out = e.as<SyscallExit>()) {
    if (out->enter != kNoEvent) {
      const Event& begin = rec_.events[out->enter];
      const SyscallEnter& begun = *begin.as<SyscallEnter>();
      if (counts_from_return(begun)) {
        if (TraceResult<void> ok = call(begin, begun, i); !ok) return ok;
      }
    }
    std::erase_if(open_calls_, [&](const OpenCall& c) { return c.thread == e.thread; });
    if (out->call == Syscall::execve) {
      processes_[e.pid].in_exec = false;
      processes_[e.pid].exec_maps.clear();
    }
  } else if (const auto* m = e.as<Mmap2>()) {
    seen(e, *m);
  } else if (const auto* child = e.as<Fork>()) {
    forked(i, e, *child);
  } else if (e.as<CommExec>() != nullptr) {
    ProcessState& p = processes_[e.pid];
    new_space_for(i, e, p);
    p.live_threads = 1;
    p.in_exec = true;
    p.exec_maps.clear();
  } else if (e.as<Exit>() != nullptr) {
    ended(i, e);
  }
  return {};
}

TraceResult<Script> ScriptMaker::make() {
  threads_.resize(rec_.threads.size());
  script_.files.emplace_back();
  // Space 0 is that of a process whose beginning is not in the recording.
  script_.spaces.emplace_back();
  recorded_.emplace_back();
  for (EventIndex i = 0; i < rec_.events.size(); ++i) {
    if (TraceResult<void> ok = handle(i); !ok) return std::unexpected(ok.error());
  }
  // By effect; a thread keeps its order because its positions never fall.
  std::vector<OpIndex> order(script_.ops.size());
  for (OpIndex i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, {}, [&](OpIndex i) { return position_[i]; });
  std::vector<Op> sorted;
  sorted.reserve(order.size());
  for (const OpIndex i : order) sorted.push_back(script_.ops[i]);
  script_.ops = std::move(sorted);

  std::vector<bool> has_ops(rec_.threads.size());
  for (const Op& op : script_.ops) {
    if (has_ops[op.thread]) continue;
    has_ops[op.thread] = true;
    script_.threads_in_order.push_back(op.thread);
  }
  script_.thread_count = static_cast<uint32_t>(script_.threads_in_order.size());
  for (const auto& call : rec_.open_calls) {
    script_.notes.push_back("line " + std::to_string(call.line) + ": the recording ends inside " +
                            std::string(syscall_name(call.call)) + "; replayed up to there");
  }
  if (rec_.cut_line != 0) {
    script_.notes.push_back("line " + std::to_string(rec_.cut_line) +
                            ": the recording ends inside a line; replayed up to there");
  }
  if (skipped_unknown_ != 0) {
    script_.notes.push_back(
        std::to_string(skipped_unknown_) +
        " calls on mappings that exec made were left out: strace does not record them");
  }
  return std::move(script_);
}

TraceResult<Script> make_script(const Recording& recording) {
  return ScriptMaker(recording).make();
}

}  // namespace pervma::trace

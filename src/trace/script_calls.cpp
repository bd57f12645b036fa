// The part of making a script that is about system calls.
#include <algorithm>

#include "trace/linux_abi.h"
#include "trace/script_maker.h"

namespace pervma::trace {

TraceResult<void> ScriptMaker::map_op(Op& op, const Event& e, const SyscallEnter& in,
                                      const SyscallExit& out) {
  op.kind = OpKind::map;
  op.length = in.args[1];
  op.arg = in.args[2];
  op.flags = static_cast<uint32_t>(in.args[3]);
  op.offset = in.args[5];
  const bool failed = out.result < 0;
  op.address = failed ? Address{in.args[0]} : Address{static_cast<uint64_t>(out.result)};
  if (!failed && (op.flags & abi::kMapFixed) == 0) {
    // At the recorded place, and only if it is free.
    op.flags |= abi::kMapFixedNoReplace | abi::kMapFixed;
  }
  if ((op.flags & abi::kMapAnonymous) == 0) {
    const Mmap2* shown = mmap2_in(in.exit == kNoEvent ? 0 : out.enter, in.exit, e.thread);
    if (shown != nullptr) {
      op.file = file_of(*shown);
    } else if (rec_.source == Source::strace || failed) {
      // No record names the file: one per descriptor stands for it.
      Mmap2 nameless;
      nameless.inode = (uint64_t{1} << 40) + static_cast<uint32_t>(in.args[4]);
      op.file = file_of(nameless);
    }
    if (op.file == 0) {
      return std::unexpected(error(e, "mmap of a file without a PERF_RECORD_MMAP2 that names it"));
    }
  }
  return {};
}

void ScriptMaker::remap_op(Op& op, const SyscallEnter& in, const SyscallExit& out) {
  op.kind = OpKind::remap;
  op.offset = in.args[1];
  op.arg = in.args[2];
  op.flags = in.args[3];
  if (out.result < 0) return;
  // In place, or at the recorded place.
  if (static_cast<uint64_t>(out.result) == op.address.value) {
    op.flags &= ~uint64_t{abi::kMremapMayMove};
  } else {
    op.flags |= abi::kMremapFixed;
  }
}

TraceResult<void> ScriptMaker::call_op(Op& op, const Event& e, const SyscallEnter& in,
                                       const SyscallExit& out) {
  op.address = Address{in.args[0]};
  op.length = in.args[1];
  op.result = out.result;
  op.writes_map = true;
  switch (in.call) {
    case Syscall::mmap: return map_op(op, e, in, out);
    case Syscall::munmap: op.kind = OpKind::unmap; return {};
    case Syscall::mprotect:
    case Syscall::pkey_mprotect:
      op.kind = OpKind::protect;
      op.arg = in.args[2];
      return {};
    case Syscall::madvise: {
      op.kind = OpKind::advise;
      op.arg = in.args[2];
      const auto advice = static_cast<Advice>(static_cast<int32_t>(op.arg));
      op.writes_map = advice != Advice::dontneed && advice != Advice::free &&
                      advice != Advice::dontneed_locked && advice != Advice::willneed &&
                      advice != Advice::cold && advice != Advice::pageout;
      return {};
    }
    case Syscall::mremap: remap_op(op, in, out); return {};
    case Syscall::brk:
      op.kind = OpKind::brk;
      op.offset = in.args[0];
      op.length = 0;
      if (script_.spaces[op.space].brk_start.value == 0) {
        const Address first{static_cast<uint64_t>(out.result)};
        script_.spaces[op.space].brk_start = first;
        script_.spaces[op.space].brk_now = first;
      }
      return {};
    case Syscall::mlock:
    case Syscall::mlock2:
      op.kind = OpKind::lock;
      op.arg = in.call == Syscall::mlock2 ? in.args[2] : 0;
      return {};
    case Syscall::munlock: op.kind = OpKind::unlock; return {};
    case Syscall::mlockall:
      op.kind = OpKind::lock_all;
      op.arg = in.args[0];
      return {};
    case Syscall::munlockall: op.kind = OpKind::unlock_all; return {};
    default:
      op.kind = OpKind::seal;
      op.arg = in.args[2];
      return {};
  }
}

// What a successful operation does to the recorded protections.
void ScriptMaker::apply_to_recorded(const Op& op) {
  RecordedMap& map = recorded_[op.space];
  const Range r = op.range();
  if (op.result < 0 && op.kind != OpKind::brk) return;
  switch (op.kind) {
    case OpKind::map:
      map.map(r, {static_cast<Prot>(op.arg), (op.flags & abi::kMapGrowsDown) != 0});
      break;
    case OpKind::unmap:
    case OpKind::exec_unmap: map.unmap(r); break;
    case OpKind::protect: map.protect(r, static_cast<Prot>(op.arg & 7)); break;
    case OpKind::remap: {
      const Range from{op.address, op.address + page_align_up(op.offset).value_or(0)};
      const auto to = Address{static_cast<uint64_t>(op.result)};
      map.move(from, {to, to + page_align_up(op.arg).value_or(0)});
      break;
    }
    case OpKind::brk: {
      if (r.empty()) break;
      if (op.arg == 1) {
        map.map(r, {Prot::read | Prot::write, false});
      } else {
        map.unmap(r);
      }
      break;
    }
    default: break;
  }
}

TraceResult<void> ScriptMaker::enter(EventIndex i, const Event& e, const SyscallEnter& in) {
  if (makes_a_child(in.call) || in.call == Syscall::execve || never_returns(in.call)) return {};
  if (in.exit == kNoEvent) return {};  // Cut off: by its thread's death, or by the recording's end.
  if (counts_from_return(in)) return {};
  return call(e, in, write_lock_in(i, in.exit, e.thread));
}

// strace shows no locks. The place of a new mapping may be one that another thread's munmap emptied
// while this call was open, and nobody uses it before the call has returned.
bool ScriptMaker::counts_from_return(const SyscallEnter& in) const {
  return rec_.source == Source::strace && in.call == Syscall::mmap &&
         (in.args[3] & abi::kMapFixed) == 0 && in.exit != kNoEvent &&
         rec_.events[in.exit].as<SyscallExit>()->result >= 0;
}

TraceResult<void> ScriptMaker::call(const Event& e, const SyscallEnter& in, EventIndex position) {
  const auto& out = *rec_.events[in.exit].as<SyscallExit>();
  Op op;
  op.line = e.line;
  op.thread = e.thread;
  op.space = processes_[e.pid].space;
  if (TraceResult<void> ok = call_op(op, e, in, out); !ok) return ok;

  if (op.kind == OpKind::brk) {
    // Its range is what it adds or takes away; arg says which.
    Address& now = script_.spaces[op.space].brk_now;
    const Address after{page_align_up(static_cast<uint64_t>(op.result)).value_or(0)};
    const Address before{page_align_up(now.value).value_or(0)};
    now = Address{static_cast<uint64_t>(op.result)};
    op.address = std::min(before, after);
    op.length = std::max(before, after) - op.address;
    op.arg = after > before ? 1 : 0;
  }
  if (rec_.source == Source::strace && op.kind != OpKind::map && op.kind != OpKind::brk &&
      !recorded_[op.space].covers(op.range())) {
    ++skipped_unknown_;  // A mapping that exec made: strace does not show them.
    return {};
  }
  const OpIndex index = add(op, position);
  op_of_call_[static_cast<EventIndex>(&e - rec_.events.data())] = index;
  if (op.writes_map) {
    const Range r = op.range();
    mark_open_faults(op.space, e.thread, r);
    open_calls_.push_back({index, e.thread, op.space, r});
  }
  apply_to_recorded(op);
  return {};
}

}  // namespace pervma::trace

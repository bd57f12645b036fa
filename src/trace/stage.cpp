#include "trace/stage.h"

#include <fmt/format.h>

#include <cstring>

#include "trace/linux_abi.h"

namespace pervma::trace {

namespace {

// Stands for a file that was mapped while recording: its bytes are not known, its identity is.
class RecordedFile final : public BackingObject {
 public:
  explicit RecordedFile(const ScriptFile& file)
      : identity_{file.device_major, file.device_minor, file.inode, file.name} {}

  uint64_t size() const noexcept override { return uint64_t{1} << 60; }
  Result<void> read_page(uint64_t index, std::span<std::byte, kPageSize> page) noexcept override {
    const uint64_t mark = identity_.inode * 0x9e3779b97f4a7c15u + index;
    std::memcpy(page.data(), &mark, sizeof mark);
    return {};
  }
  // Linux found these files in its page cache.
  VmaLockSafety vma_lock_safety() const noexcept override { return VmaLockSafety::memory; }
  const FileIdentity& identity() const noexcept override { return identity_; }

 private:
  const FileIdentity identity_;
};

// The mappings that the operation in progress of this thread produced.
thread_local std::vector<MapObserver::Change> t_changes;
thread_local std::vector<FileIdentity> t_change_files;

Access access_of(uint32_t error_code) noexcept {
  if ((error_code & fault_code::kWrite) != 0) return Access::write;
  if ((error_code & fault_code::kFetch) != 0) return Access::exec;
  return Access::read;
}

template <class T>
int64_t code(const Result<T>& r) noexcept {
  if (!r) return -static_cast<int64_t>(r.error());
  if constexpr (std::is_same_v<T, Address>) {
    return static_cast<int64_t>(r->value);
  } else {
    return 0;
  }
}

const char* outcome_name(FaultOutcome o) noexcept {
  switch (o) {
    case FaultOutcome::resolved: return "resolved";
    case FaultOutcome::map_error: return "nothing mapped";
    case FaultOutcome::access_error: return "refused";
    case FaultOutcome::bus_error: return "bus error";
    case FaultOutcome::out_of_memory: return "out of memory";
    case FaultOutcome::interrupted: return "interrupted";
  }
  return "?";
}

}  // namespace

void PlayLog::add(uint32_t line, std::string text) {
  ++mismatch_count;
  if (mismatches.size() < kMostMismatches) mismatches.push_back({line, std::move(text)});
}

std::string op_name(OpKind kind) {
  switch (kind) {
    case OpKind::user_fault: return "fault";
    case OpKind::kernel_fault: return "kernel fault";
    case OpKind::map: return "mmap";
    case OpKind::unmap: return "munmap";
    case OpKind::protect: return "mprotect";
    case OpKind::advise: return "madvise";
    case OpKind::remap: return "mremap";
    case OpKind::brk: return "brk";
    case OpKind::lock: return "mlock";
    case OpKind::unlock: return "munlock";
    case OpKind::lock_all: return "mlockall";
    case OpKind::unlock_all: return "munlockall";
    case OpKind::seal: return "mseal";
    case OpKind::new_space: return "exec";
    case OpKind::exec_map: return "exec's mapping";
    case OpKind::exec_unmap: return "exec's unmapping";
    case OpKind::exec_stack: return "exec's stack";
    case OpKind::fork: return "fork";
    case OpKind::exit: return "exit";
  }
  return "?";
}

std::string result_text(OpKind, int64_t result) {
  if (result < 0 && result >= -4095) {
    return "-" + std::string(error_name(static_cast<Error>(-result)));
  }
  return fmt::format("{:#x}", static_cast<uint64_t>(result));
}

std::string describe(const SeenMapping& m) {
  return fmt::format("{:x}-{:x} {}{}{}{} @{:x} {:02x}:{:02x} {}", m.range.start.value,
                     m.range.end.value, any(m.prot & Prot::read) ? 'r' : '-',
                     any(m.prot & Prot::write) ? 'w' : '-', any(m.prot & Prot::exec) ? 'x' : '-',
                     m.sharing == Sharing::shared ? 's' : 'p', m.pgoff, m.device_major,
                     m.device_minor, m.inode);
}

Result<std::unique_ptr<Stage>> Stage::create(const Script& script, Design design,
                                             PageCount present) {
  std::unique_ptr<Stage> stage(new Stage(script, design));
  Result<std::unique_ptr<Engine>> engine = Engine::create({.present = present});
  if (!engine) return std::unexpected(engine.error());
  stage->engine_ = std::move(*engine);
  for (const ScriptFile& file : script.files) {
    Result<FileRef> ref =
        stage->engine_->open(std::make_shared<RecordedFile>(file), FileMode::read_write);
    if (!ref) return std::unexpected(ref.error());
    stage->files_.push_back(std::move(*ref));
  }
  stage->spaces_.resize(script.spaces.size());
  stage->ended_faults_.resize(script.spaces.size());
  stage->ended_lock_.resize(script.spaces.size());
  return stage;
}

Stage::~Stage() {
  spaces_.clear();
  files_.clear();
}

void Stage::changed(const Change& change) noexcept {
  t_changes.push_back(change);
  t_change_files.push_back(change.file != nullptr ? FileIdentity{change.file->device_major,
                                                                 change.file->device_minor,
                                                                 change.file->inode,
                                                                 {}}
                                                  : FileIdentity{});
}

FaultOutcome Stage::fault(const Op& op) noexcept {
  AddressSpace* space = spaces_[op.space].get();
  if (space == nullptr) return FaultOutcome::map_error;
  return space->handle_fault(
      op.address, access_of(op.error_code),
      op.kind == OpKind::user_fault ? FaultOrigin::user : FaultOrigin::kernel);
}

int64_t Stage::map(const Op& op, AddressSpace& space) noexcept {
  MapRequest request{.address = op.address,
                     .length = op.length,
                     .prot = static_cast<Prot>(op.arg),
                     .flags = static_cast<MapFlags>(op.flags),
                     .file = {},
                     .offset = op.offset};
  if ((op.flags & abi::kMapAnonymous) == 0) request.file = files_[op.file];
  return code(space.map(request));
}

int64_t Stage::remap(const Op& op, AddressSpace& space) noexcept {
  RemapRequest request{.old_address = op.address,
                       .old_length = op.offset,
                       .new_length = op.arg,
                       .flags = static_cast<RemapFlags>(op.flags),
                       .new_address = {}};
  if (any(request.flags & RemapFlags::fixed) && op.result >= 0) {
    request.new_address = Address{static_cast<uint64_t>(op.result)};
  }
  return code(space.remap(request));
}

// exec makes the stack at the top of the space, writes the arguments there, then moves it to its
// random place: it keeps the page offset of where it was made.
int64_t Stage::exec_stack(const Op& op, AddressSpace& space) noexcept {
  const Address made{op.offset};
  const Result<Address> mapped =
      space.map({.address = made,
                 .length = op.length,
                 .prot = static_cast<Prot>(op.arg),
                 .flags = MapFlags::private_ | MapFlags::anonymous | MapFlags::fixed_noreplace |
                          MapFlags::growsdown,
                 .file = {},
                 .offset = 0});
  if (!mapped) return code(mapped);
  const Address top_page = made + op.length - kPageSize;
  (void)space.handle_fault(top_page, Access::write, FaultOrigin::kernel);
  if (made != op.address) {
    const Result<Address> moved = space.remap({.old_address = made,
                                               .old_length = op.length,
                                               .new_length = op.length,
                                               .flags = RemapFlags::maymove | RemapFlags::fixed,
                                               .new_address = op.address});
    if (!moved) return code(moved);
    t_changes.clear();  // The record shows it where it ends up; mremap reports nothing.
    t_change_files.clear();
    if (const auto info = space.find_vma(op.address)) {
      t_changes.push_back({info->range, info->flags, info->page_offset, nullptr});
      t_change_files.emplace_back();
    }
  }
  space.set_stack(op.address + op.length - kPageSize);
  return op.result;
}

int64_t Stage::call(const Op& op) noexcept {
  AddressSpace* const space = spaces_[op.space].get();
  if (space == nullptr) return -static_cast<int64_t>(Error::fault);
  switch (op.kind) {
    case OpKind::map: return map(op, *space);
    case OpKind::unmap:
    case OpKind::exec_unmap: return code(space->unmap(op.address, op.length));
    case OpKind::protect:
      return code(space->protect(op.address, op.length, static_cast<Prot>(op.arg)));
    case OpKind::advise:
      return code(
          space->advise(op.address, op.length, static_cast<Advice>(static_cast<int32_t>(op.arg))));
    case OpKind::remap: return remap(op, *space);
    case OpKind::brk: return static_cast<int64_t>(space->brk(Address{op.offset}).value);
    case OpKind::lock:
      return code(space->lock(op.address, op.length, static_cast<LockFlags>(op.arg)));
    case OpKind::unlock: return code(space->unlock(op.address, op.length));
    case OpKind::lock_all: return code(space->lock_all(static_cast<LockAllFlags>(op.arg)));
    case OpKind::unlock_all: return code(space->unlock_all());
    case OpKind::seal: return code(space->seal(op.address, op.length));
    case OpKind::exec_stack: return exec_stack(op, *space);
    case OpKind::exec_map: {
      const auto prot = static_cast<Prot>(op.arg);
      if (op.flags == 1) {
        return code(space->map_special(op.range(), prot, script_.files[op.file].name.c_str())) == 0
                   ? op.result
                   : -static_cast<int64_t>(Error::exist);
      }
      MapRequest request{.address = op.address,
                         .length = op.length,
                         .prot = prot,
                         .flags = MapFlags::private_ | MapFlags::fixed,
                         .file = {},
                         .offset = op.offset};
      if (op.file != 0) {
        request.file = files_[op.file];
      } else {
        request.flags = request.flags | MapFlags::anonymous;
        request.offset = 0;
      }
      return code(space->map(request));
    }
    default: return -static_cast<int64_t>(Error::opnotsupp);
  }
}

void Stage::new_space(const Op& op, PlayLog& log) noexcept {
  Result<std::unique_ptr<AddressSpace>> made =
      engine_->create_space({.design = design_, .observer = this});
  if (!made) {
    log.add(op.line, "exec: the new space cannot be made");
    return;
  }
  spaces_[op.space] = std::move(*made);
  const Address brk = script_.spaces[op.space].brk_start;
  if (brk.value != 0) spaces_[op.space]->set_brk_start(brk);
}

void Stage::fork(const Op& op, PlayLog& log) noexcept {
  Result<std::unique_ptr<AddressSpace>> child = engine_->fork(*spaces_[op.space]);
  if (!child) {
    log.add(op.line, fmt::format("fork: {}", error_name(child.error())));
    return;
  }
  spaces_[op.other] = std::move(*child);
}

void Stage::end_space(SpaceIndex i, uint32_t line, PlayLog& log) noexcept {
  AddressSpace* const space = spaces_[i].get();
  if (space == nullptr) return;
  if (std::string wrong = space->check(); !wrong.empty()) {
    log.add(line, "the space is not sound at its end: " + wrong);
  }
  space->exit();
  ended_faults_[i] = space->fault_counters();
  ended_lock_[i] = space->lock_counters();
  ended_lock_[i].write -= 1;  // check() took it.
  spaces_[i].reset();
}

void Stage::compare_fault(const Op& op, FaultOutcome outcome, PlayLog& log) const {
  if (op.fault_end == FaultEnd::either) return;
  const bool resolved = outcome == FaultOutcome::resolved;
  const bool refused = outcome == FaultOutcome::access_error || outcome == FaultOutcome::map_error;
  if (op.fault_end == FaultEnd::resolved ? resolved : refused) return;
  log.add(op.line, fmt::format("{} at {:#x}, error code {:#x}: recorded {}, pervma says {}",
                               op_name(op.kind), op.address.value, op.error_code,
                               op.fault_end == FaultEnd::resolved ? "resolved" : "refused",
                               outcome_name(outcome)));
}

void Stage::compare_seen(const Op& op, PlayLog& log) const {
  const size_t common = std::min<size_t>(op.seen_count, t_changes.size());
  for (size_t i = 0; i < common; ++i) {
    const SeenMapping& want = script_.seen[op.first_seen + i];
    const Change& got = t_changes[i];
    const FileIdentity& file = t_change_files[i];
    SeenMapping have{got.range,
                     got.page_offset,
                     file.inode,
                     file.device_major,
                     file.device_minor,
                     static_cast<Prot>(got.flags.bits() & 7),
                     got.flags.has(VmaFlag::may_share) ? Sharing::shared : Sharing::private_copy,
                     want.line};
    // An object of zero pages has a number of its own in every run.
    const bool zero_object =
        want.device_major == 0 && want.inode != 0 && have.device_major == 0 && have.inode != 0;
    const bool same_object =
        zero_object || (want.inode == have.inode && want.device_major == have.device_major &&
                        want.device_minor == have.device_minor);
    if (want.range == have.range && want.pgoff == have.pgoff && want.prot == have.prot &&
        want.sharing == have.sharing && same_object) {
      continue;
    }
    log.add(want.line, fmt::format("{}: recorded {}, pervma has {}", op_name(op.kind),
                                   describe(want), describe(have)));
  }
  if (op.seen_count != t_changes.size()) {
    log.add(op.line, fmt::format("{}: {} mappings recorded, pervma reported {}", op_name(op.kind),
                                 op.seen_count, t_changes.size()));
  }
}

void Stage::play(const Op& op, PlayLog& log) noexcept {
  t_changes.clear();
  t_change_files.clear();
  switch (op.kind) {
    case OpKind::user_fault:
    case OpKind::kernel_fault: {
      const FaultOutcome outcome = fault(op);
      compare_fault(op, outcome, log);
      if (op.writes_map) compare_seen(op, log);
      return;
    }
    case OpKind::new_space: return new_space(op, log);
    case OpKind::fork: return fork(op, log);
    case OpKind::exit: return end_space(op.space, op.line, log);
    default: {
      const int64_t result = call(op);
      if (result != op.result) {
        log.add(op.line, fmt::format("{} at {:#x}: recorded {}, pervma says {}", op_name(op.kind),
                                     op.address.value, result_text(op.kind, op.result),
                                     result_text(op.kind, result)));
      }
      // strace shows no mappings, so there is nothing to compare with.
      if (!script_.seen.empty() && op.kind != OpKind::exec_unmap) compare_seen(op, log);
    }
  }
}

Stage::Totals Stage::finish(PlayLog& log) noexcept {
  Totals totals{};
  totals.frames = engine_->frames_used();
  for (SpaceIndex i = 0; i < spaces_.size(); ++i) {
    end_space(i, 0, log);
    totals.faults.success += ended_faults_[i].success;
    totals.faults.abort += ended_faults_[i].abort;
    totals.faults.retry += ended_faults_[i].retry;
    totals.faults.miss += ended_faults_[i].miss;
    totals.lock.read += ended_lock_[i].read;
    totals.lock.write += ended_lock_[i].write;
    totals.lock.wait_ns += ended_lock_[i].wait_ns;
  }
  return totals;
}

}  // namespace pervma::trace

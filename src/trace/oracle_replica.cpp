#include "trace/oracle_replica.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace pervma::trace {

namespace {

constexpr Address kTop{0x7fff'ffff'f000};
constexpr Address kLowest{0x10000};
constexpr Address kWindowEnd = kOracleWindow + PageCount{kOracleWindowPages};
constexpr uint32_t kFileDevice = 9;

// Every byte value in order, so that a page of the pattern is a copy.
constexpr auto kPattern = [] {
  std::array<uint8_t, kPageSize + 256> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i);
  return bytes;
}();

// A memfd of the recording: bytes by a pattern, in memory.
class PatternFile final : public BackingObject {
 public:
  PatternFile(uint64_t inode, uint64_t bytes, uint8_t base)
      : bytes_(bytes), base_(base), identity_{kFileDevice, 0, inode, {}} {}

  uint64_t size() const noexcept override { return bytes_; }
  VmaLockSafety vma_lock_safety() const noexcept override { return VmaLockSafety::memory; }
  const FileIdentity& identity() const noexcept override { return identity_; }
  Result<void> read_page(uint64_t index, std::span<std::byte, kPageSize> page) noexcept override {
    const uint64_t start = index << kPageShift;
    if (start >= bytes_) return {};
    const uint8_t first = static_cast<uint8_t>(index * 7 + base_);
    std::memcpy(page.data(), kPattern.data() + first, std::min(kPageSize, bytes_ - start));
    return {};
  }

 private:
  const uint64_t bytes_;
  const uint8_t base_;
  const FileIdentity identity_;
};

// UFFD_FEATURE_SIGBUS.
class NoPages final : public UserFaultHandler {
 public:
  UserFaultAnswer fault(const UserFault&, const std::stop_token&) override {
    return UserFaultAnswer::bus_error;
  }
};

template <class T>
OracleAnswer answer_of(const Result<T>& result) {
  OracleAnswer a;
  if (!result) {
    a.error = static_cast<int32_t>(result.error());
  } else if constexpr (std::is_same_v<T, Address>) {
    a.place = *result;
  }
  return a;
}

OracleSignal signal_of(FaultOutcome outcome) noexcept {
  switch (outcome) {
    case FaultOutcome::resolved: return OracleSignal::none;
    case FaultOutcome::map_error: return OracleSignal::segv_maperr;
    case FaultOutcome::access_error: return OracleSignal::segv_accerr;
    default: return OracleSignal::bus_adrerr;
  }
}

// The rest of the address space: mappings that merge with nothing.
constexpr uint32_t kOccupied = 2;  // mappings
Result<void> occupy(Engine& engine, AddressSpace& space) {
  Result<FileRef> filler =
      engine.open(std::make_shared<PatternFile>(0, 0, uint8_t{0}), FileMode::read_write);
  if (!filler) return std::unexpected(filler.error());
  for (const Range gap : {Range{kLowest, kOracleWindow}, Range{kWindowEnd, kTop}}) {
    const Result<Address> mapped = space.map({.address = gap.start,
                                              .length = gap.bytes(),
                                              .flags = MapFlags::shared | MapFlags::fixed,
                                              .file = *filler});
    if (!mapped) return std::unexpected(mapped.error());
  }
  return {};
}

Result<std::vector<FileRef>> open_files(Engine& engine, std::span<const OracleFile> files) {
  std::array<std::shared_ptr<BackingObject>, 2> objects;
  for (size_t i = 0; i < objects.size(); ++i) {
    const OracleFile file = i < files.size() ? files[i] : OracleFile{};
    objects[i] = std::make_shared<PatternFile>(i + 1, file.bytes, file.base);
  }
  constexpr std::pair<size_t, FileMode> kOpenings[kOracleOpenings] = {{0, FileMode::read_write},
                                                                      {1, FileMode::read_write},
                                                                      {0, FileMode::read_only},
                                                                      {0, FileMode::read_write}};
  std::vector<FileRef> openings;
  for (const auto& [object, mode] : kOpenings) {
    Result<FileRef> file = engine.open(objects[object], mode);
    if (!file) return std::unexpected(file.error());
    openings.push_back(std::move(*file));
  }
  return openings;
}

}  // namespace

Result<OracleReplica> OracleReplica::create(Engine& engine, Design design, const OracleSetup& setup,
                                            std::span<const OracleFile> files,
                                            const ReplicaOptions& how) {
  SpaceOptions options;
  options.design = design;
  options.vma_free = how.vma_free;
  options.lowest = how.bare ? kOracleWindow : kLowest;
  options.top = how.bare ? kWindowEnd : kTop;
  options.mmap_base = options.top;
  options.anon_names = AnonNames::refused;
  options.huge_pages = HugePages::refused;  // Recordings are made with PR_SET_THP_DISABLE.
  if (setup.memlock >= 0)
    options.memlock_limit = static_cast<uint64_t>(setup.memlock) << kPageShift;
  if (setup.address_space >= 0) {
    options.address_space_limit = (options.top - options.lowest) - (kWindowEnd - kOracleWindow) +
                                  (static_cast<uint64_t>(setup.address_space) << kPageShift);
  }

  if (setup.maps >= 0) {
    options.max_map_count = (how.bare ? 0 : kOccupied) + static_cast<uint32_t>(setup.maps);
  }

  OracleReplica replica(engine);
  Result<std::unique_ptr<AddressSpace>> space = engine.create_space(options);
  if (!space) return std::unexpected(space.error());
  replica.spaces_.push_back(std::move(*space));
  Result<std::vector<FileRef>> openings = open_files(engine, files);
  if (!openings) return std::unexpected(openings.error());
  replica.openings_ = std::move(*openings);
  if (!how.bare) {
    if (Result<void> done = occupy(engine, replica.space()); !done) {
      return std::unexpected(done.error());
    }
  }
  replica.user_fault_kind_ = setup.user_faults;
  if (Result<void> done = replica.open_user_faults(); !done) return std::unexpected(done.error());
  if (Result<void> done = replica.cache_files(files); !done) return std::unexpected(done.error());
  if (setup.brk >= 0) {
    replica.space().set_brk_start(kOracleWindow + PageCount{static_cast<uint64_t>(setup.brk)});
  }
  return replica;
}

OracleAnswer OracleReplica::execute(const OracleOperation& op, const std::stop_token& stop) {
  AddressSpace& s = space();
  switch (op.call) {
    case OracleCall::mmap: return map(op, stop);
    case OracleCall::munmap: return answer_of(s.unmap(op.address, op.length, stop));
    case OracleCall::mprotect:
      return answer_of(s.protect(op.address, op.length, static_cast<Prot>(op.prot), stop));
    case OracleCall::madvise:
      return answer_of(s.advise(op.address, op.length, static_cast<Advice>(op.advice), stop));
    case OracleCall::mremap:
      return answer_of(s.remap({.old_address = op.address,
                                .old_length = op.length,
                                .new_length = op.new_length,
                                .flags = static_cast<RemapFlags>(op.flags),
                                .new_address = op.new_address},
                               stop));
    case OracleCall::mlock: return answer_of(s.lock(op.address, op.length, LockFlags::none, stop));
    case OracleCall::mlock2:
      return answer_of(s.lock(op.address, op.length, static_cast<LockFlags>(op.flags), stop));
    case OracleCall::munlock: return answer_of(s.unlock(op.address, op.length, stop));
    case OracleCall::mlockall:
      return answer_of(s.lock_all(static_cast<LockAllFlags>(op.flags), stop));
    case OracleCall::munlockall: return answer_of(s.unlock_all(stop));
    case OracleCall::mseal: return answer_of(s.seal(op.address, op.length, stop));
    case OracleCall::setname: return answer_of(s.set_name(op.address, op.length, "name", stop));
    case OracleCall::msync:
      return answer_of(s.sync(op.address, op.length, static_cast<SyncFlags>(op.flags), stop));
    case OracleCall::brk: return answer_of(Result<Address>(s.brk(op.address, stop)));
    case OracleCall::mincore: return residency(op, stop);
    case OracleCall::fork: return answer_of(fork(stop));
    case OracleCall::read: return load(op);
    case OracleCall::write: return store(op);
    default: return told(op, stop);
  }
}

// A recording that has them says so in its header.
OracleAnswer OracleReplica::told(const OracleOperation& op, const std::stop_token& stop) {
  if (user_faults_.empty()) return answer_of(Result<void>(std::unexpected(Error::badf)));
  UserFaults& u = *user_faults_.back();
  switch (op.call) {
    case OracleCall::uffd_register:
      return answer_of(
          u.register_range(op.address, op.length, static_cast<UserFaultModes>(op.flags), stop));
    case OracleCall::uffd_unregister:
      return answer_of(u.unregister_range(op.address, op.length, stop));
    case OracleCall::uffd_writeprotect:
      return answer_of(
          u.write_protect(op.address, op.length, static_cast<UserProtectFlags>(op.flags), stop));
    default: return fill(op, stop);
  }
}

OracleAnswer OracleReplica::fill(const OracleOperation& op, const std::stop_token& stop) {
  UserFaults& u = *user_faults_.back();
  const auto flags = static_cast<UserFillFlags>(op.flags);
  UserFaultDone done;
  switch (op.call) {
    case OracleCall::uffd_copy: {
      const std::vector<std::byte> bytes(std::min(op.length, kOracleMostCopied),
                                         static_cast<std::byte>(op.byte));
      done = u.copy(op.address, bytes, flags, stop);
      break;
    }
    case OracleCall::uffd_zeropage: done = u.zero_pages(op.address, op.length, flags, stop); break;
    case OracleCall::uffd_continue: done = u.map_cached(op.address, op.length, flags, stop); break;
    default:
      done =
          u.move(op.address, op.new_address, op.length, static_cast<UserMoveFlags>(op.flags), stop);
  }
  OracleAnswer a;
  if (done.error) a.error = static_cast<int32_t>(*done.error);
  if (done.error == Error::again) a.done = done.bytes;
  return a;
}

Result<void> OracleReplica::open_user_faults() {
  static NoPages handler;
  if (user_fault_kind_ < 0) return {};
  Result<std::unique_ptr<UserFaults>> made = space().create_user_faults(
      {.handler = &handler, .protect_unpopulated = user_fault_kind_ == 1});
  if (!made) return std::unexpected(made.error());
  user_faults_.push_back(std::move(*made));
  return {};
}

// What a memfd was filled with is in its cache; a userfaultfd tells it from what is not.
Result<void> OracleReplica::cache_files(std::span<const OracleFile> files) {
  if (user_fault_kind_ < 0) return {};
  Result<std::unique_ptr<AddressSpace>> scratch = engine_->create_space({});
  if (!scratch) return std::unexpected(scratch.error());
  for (size_t i = 0; i < files.size() && i < openings_.size(); ++i) {
    const uint64_t bytes = page_align_up(files[i].bytes).value_or(0);
    if (bytes == 0) continue;
    const Result<Address> at = (*scratch)->map(
        {.length = bytes, .prot = Prot::read, .flags = MapFlags::shared, .file = openings_[i]});
    if (!at) return std::unexpected(at.error());
    std::array<std::byte, 1> byte{};
    for (uint64_t page = 0; page < bytes; page += kPageSize) {
      if ((*scratch)->load(*at + page, byte) != FaultOutcome::resolved) {
        return std::unexpected(Error::nomem);
      }
    }
  }
  return {};
}

OracleAnswer OracleReplica::map(const OracleOperation& op, const std::stop_token& stop) {
  MapRequest request{.address = op.address,
                     .length = op.length,
                     .prot = static_cast<Prot>(op.prot),
                     .flags = static_cast<MapFlags>(op.flags),
                     .offset = op.offset};
  if (op.file != 0) request.file = openings_[op.file - 1u];
  return answer_of(space().map(request, stop));
}

OracleAnswer OracleReplica::residency(const OracleOperation& op, const std::stop_token& stop) {
  const uint64_t pages = page_align_up(op.length).value_or(0) >> kPageShift;
  // A length beyond the window is refused, whatever room there is.
  bits_.assign(std::min(pages, kOracleWindowPages), 0);
  const OracleAnswer a = answer_of(space().residency(op.address, op.length, bits_, stop));
  if (a.error != 0) bits_.clear();
  return a;
}

OracleAnswer OracleReplica::load(const OracleOperation& op) {
  std::array<std::byte, 1> byte{};
  OracleAnswer a;
  a.signal = signal_of(space().load(op.address, byte));
  if (a.signal == OracleSignal::none) a.byte = static_cast<uint8_t>(byte[0]);
  return a;
}

OracleAnswer OracleReplica::store(const OracleOperation& op) {
  const std::array byte{static_cast<std::byte>(op.byte)};
  OracleAnswer a;
  a.signal = signal_of(space().store(op.address, byte));
  return a;
}

Result<void> OracleReplica::fork(const std::stop_token& stop) {
  Result<std::unique_ptr<AddressSpace>> child = engine_->fork(space(), stop);
  if (!child) return std::unexpected(child.error());
  spaces_.push_back(std::move(*child));
  return open_user_faults();
}

void OracleReplica::vmas_in(Range range, std::vector<OracleVma>& to) {
  class Visitor final : public VmaVisitor {
   public:
    Visitor(OracleReplica& replica, std::vector<OracleVma>& list) noexcept
        : replica_(replica), list_(list) {}
    void visit(const VmaView& v) override {
      list_.push_back({.start = (v.range.start - kOracleWindow) >> kPageShift,
                       .end = (v.range.end - kOracleWindow) >> kPageShift,
                       .flags = v.flags,
                       .offset = v.file != nullptr ? v.page_offset : 0,
                       .backing = replica_.backing_of(v.file),
                       .told = v.user_faults});
    }

   private:
    OracleReplica& replica_;
    std::vector<OracleVma>& list_;
  } visitor(*this, to);
  to.clear();
  space().for_each_vma(range, visitor);
}

OracleBacking OracleReplica::backing_of(const FileIdentity* file) {
  if (file == nullptr) return {};
  if (file->device_major == kFileDevice) {
    return {OracleBacking::kFirstFile + static_cast<uint32_t>(file->inode) - 1};
  }
  auto known = std::ranges::find(shared_, file->inode);
  if (known == shared_.end()) known = shared_.insert(shared_.end(), file->inode);
  return {OracleBacking::kFirstShared + static_cast<uint32_t>(known - shared_.begin())};
}

std::span<const OracleFile> oracle_files() {
  static const std::array<OracleFile, 2> files{OracleFile{"A", 64 * kPageSize, 0x11},
                                               OracleFile{"B", 20 * kPageSize + 291, 0x83}};
  return files;
}

}  // namespace pervma::trace

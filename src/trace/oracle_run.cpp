#include "trace/oracle_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "trace/oracle_words.h"

namespace pervma::trace {

namespace {

constexpr Address kTop{0x7fff'ffff'f000};
constexpr Address kLowest{0x10000};
constexpr Address kWindowEnd = kOracleWindow + PageCount{kOracleWindowPages};
constexpr uint32_t kFileDevice = 9;

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
    for (uint64_t i = 0; i < kPageSize && start + i < bytes_; ++i) {
      page[i] = static_cast<std::byte>(index * 7 + i + base_);
    }
    return {};
  }

 private:
  const uint64_t bytes_;
  const uint8_t base_;
  const FileIdentity identity_;
};

// What pervma answered, in the recording's terms.
struct Answer {
  int error = 0;
  OracleSignal signal = OracleSignal::none;
  Address place{};
  uint8_t byte = 0;
  std::vector<uint8_t> bits;
};

template <class T>
Answer answer_of(const Result<T>& result) {
  Answer a;
  if (!result) {
    a.error = static_cast<int>(result.error());
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

std::string place_text(Address a) {
  if (a < kOracleWindow || a > kWindowEnd) return fmt::format("@!{:#x}", a.value);
  const uint64_t bytes = a - kOracleWindow;
  const std::string page = fmt::format("@{}", bytes >> kPageShift);
  return (bytes & kPageMask) == 0 ? page : fmt::format("{}+{}", page, bytes & kPageMask);
}

std::string answer_text(OracleCall call, const Answer& a) {
  if (a.error != 0) return "-" + errno_text(a.error);
  switch (call) {
    case OracleCall::mmap:
    case OracleCall::mremap:
    case OracleCall::brk: return place_text(a.place);
    case OracleCall::read:
      if (a.signal == OracleSignal::none) return fmt::format("ok {:02x}", a.byte);
      [[fallthrough]];
    case OracleCall::write: return std::string(oracle_signal_name(a.signal));
    case OracleCall::mincore: {
      std::string text = "0 ";
      for (const uint8_t bit : a.bits) text += bit != 0 ? '1' : '0';
      return a.bits.empty() ? text + '-' : text;
    }
    default: return "0";
  }
}

bool same_bits(std::string_view recorded, const std::vector<uint8_t>& bits) noexcept {
  if (recorded.size() != bits.size()) return false;
  for (size_t i = 0; i < bits.size(); ++i) {
    if (recorded[i] != '.' && (recorded[i] == '1') != (bits[i] != 0)) return false;
  }
  return true;
}

bool same_answer(const OracleOp& op, const Answer& a) noexcept {
  if (op.error != a.error || op.signal != a.signal || op.place != a.place) return false;
  if (op.call == OracleCall::read && a.signal == OracleSignal::none) return op.byte == a.byte;
  if (op.call == OracleCall::mincore && a.error == 0) return same_bits(op.bits, a.bits);
  return true;
}

// Runs one recording.
class Run {
 public:
  Run(Engine& engine, const OracleRecording& recording, OracleWorld world)
      : engine_(engine), r_(recording), world_(std::move(world)) {}

  OracleOutcome all();

 private:
  Answer execute(const OracleOp& op);
  Answer map(const OracleOp& op);
  Answer residency(const OracleOp& op);
  bool apply_change(const OracleOp& op);
  Range neighbourhood(const OracleOp& op, const Answer& answer) const;
  bool same_map(Range where);
  bool same_as_dump(const OracleOp& op) const;
  OracleVma seen(const VmaInfo& v);
  std::unique_ptr<OracleMismatch> mismatch(const OracleOp& op, std::string what, Range where);

  AddressSpace& space() noexcept { return world_.space(); }

  Engine& engine_;
  const OracleRecording& r_;
  OracleWorld world_;
  std::vector<OracleVma> expected_;  // Linux's list
};

OracleOutcome Run::all() {
  OracleOutcome outcome;
  for (const OracleOp& op : r_.ops) {
    const Answer answer = execute(op);
    ++outcome.operations;
    const bool sane = apply_change(op) && (!op.has_dump || same_as_dump(op));
    const Range where = neighbourhood(op, answer);
    std::string what;
    if (!sane) {
      what = "the recording's changes do not fit its own list";
    } else if (!same_answer(op, answer)) {
      what = "pervma answered " + answer_text(op.call, answer);
    } else if (!same_map(where)) {
      what = "the maps differ";
    }
    if (!what.empty()) {
      outcome.mismatch = mismatch(op, std::move(what), where);
      break;
    }
  }
  return outcome;
}

Answer Run::execute(const OracleOp& op) {
  switch (op.call) {
    case OracleCall::mmap: return map(op);
    case OracleCall::munmap: return answer_of(space().unmap(op.address, op.length));
    case OracleCall::mprotect:
      return answer_of(space().protect(op.address, op.length, static_cast<Prot>(op.prot)));
    case OracleCall::madvise:
      return answer_of(space().advise(op.address, op.length, static_cast<Advice>(op.advice)));
    case OracleCall::mremap:
      return answer_of(space().remap({.old_address = op.address,
                                      .old_length = op.length,
                                      .new_length = op.new_length,
                                      .flags = static_cast<RemapFlags>(op.flags),
                                      .new_address = op.new_address}));
    case OracleCall::mlock: return answer_of(space().lock(op.address, op.length));
    case OracleCall::mlock2:
      return answer_of(space().lock(op.address, op.length, static_cast<LockFlags>(op.flags)));
    case OracleCall::munlock: return answer_of(space().unlock(op.address, op.length));
    case OracleCall::mlockall:
      return answer_of(space().lock_all(static_cast<LockAllFlags>(op.flags)));
    case OracleCall::munlockall: return answer_of(space().unlock_all());
    case OracleCall::mseal: return answer_of(space().seal(op.address, op.length));
    case OracleCall::setname: return answer_of(space().set_name(op.address, op.length, "name"));
    case OracleCall::brk: return answer_of(Result<Address>(space().brk(op.address)));
    case OracleCall::mincore: return residency(op);
    case OracleCall::fork: return answer_of(world_.fork(engine_));
    case OracleCall::read: {
      std::array<std::byte, 1> byte{};
      Answer a;
      a.signal = signal_of(space().load(op.address, byte));
      a.byte = static_cast<uint8_t>(byte[0]);
      return a;
    }
    case OracleCall::write: {
      const std::array byte{static_cast<std::byte>(op.byte)};
      Answer a;
      a.signal = signal_of(space().store(op.address, byte));
      return a;
    }
  }
  return {};
}

Answer Run::map(const OracleOp& op) {
  MapRequest request{.address = op.address,
                     .length = op.length,
                     .prot = static_cast<Prot>(op.prot),
                     .flags = static_cast<MapFlags>(op.flags),
                     .offset = op.offset};
  if (op.file != 0) request.file = world_.opening(op.file);
  return answer_of(space().map(request));
}

Answer Run::residency(const OracleOp& op) {
  const uint64_t pages = page_align_up(op.length).value_or(0) >> kPageShift;
  // A length beyond the window is refused, whatever room there is.
  std::vector<uint8_t> bits(std::min(pages, kOracleWindowPages));
  Answer a = answer_of(space().residency(op.address, op.length, bits));
  if (a.error == 0) a.bits = std::move(bits);
  return a;
}

// Brings Linux's list up to date. False: a VMA that goes was not there.
bool Run::apply_change(const OracleOp& op) {
  const auto at = [&](uint64_t start) {
    return std::ranges::lower_bound(expected_, start, {}, &OracleVma::start);
  };
  for (uint32_t i = 0; i < op.gone_count; ++i) {
    const auto it = at(r_.gone[op.gone_first + i]);
    if (it == expected_.end() || it->start != r_.gone[op.gone_first + i]) return false;
    expected_.erase(it);
  }
  for (uint32_t i = 0; i < op.new_count; ++i) {
    const OracleVma& v = r_.vmas[op.new_first + i];
    expected_.insert(at(v.start), v);
  }
  return true;
}

bool Run::same_as_dump(const OracleOp& op) const {
  return std::equal(expected_.begin(), expected_.end(), r_.vmas.begin() + op.dump_first,
                    r_.vmas.begin() + op.dump_first + op.dump_count);
}

// Where the map is to be compared: everything that the operation or its recorded change names, and
// a page around; the whole window where there is a full list, and after calls without a range.
Range Run::neighbourhood(const OracleOp& op, const Answer& answer) const {
  const Range window{kOracleWindow, kWindowEnd};
  switch (op.call) {
    case OracleCall::mlockall:
    case OracleCall::munlockall:
    case OracleCall::fork:
    case OracleCall::brk: return window;
    default: break;
  }
  if (op.has_dump) return window;
  Address low = kWindowEnd;
  Address high = kOracleWindow;
  const auto add = [&](Address start, uint64_t length) {
    if (start < kOracleWindow || start > kWindowEnd) return;
    low = std::min(low, start);
    high = std::max(high, start + std::min(length, kWindowEnd - start));
  };
  add(op.address, op.length);
  add(answer.place, std::max(op.length, op.new_length));
  add(op.new_address, op.new_length);
  for (uint32_t i = 0; i < op.gone_count; ++i) {
    add(kOracleWindow + PageCount{r_.gone[op.gone_first + i]}, kPageSize);
  }
  for (uint32_t i = 0; i < op.new_count; ++i) {
    const OracleVma& v = r_.vmas[op.new_first + i];
    add(kOracleWindow + PageCount{v.start}, (v.end - v.start) << kPageShift);
  }
  if (low > high) return window;
  return Range{low.page_down() - kPageSize, high.page_down() + 2 * kPageSize}.intersection(window);
}

OracleVma Run::seen(const VmaInfo& v) {
  OracleVma o{.start = (v.range.start - kOracleWindow) >> kPageShift,
              .end = (v.range.end - kOracleWindow) >> kPageShift,
              .flags = v.flags,
              .backing = world_.backing_of(v)};
  if (v.has_file) o.offset = v.page_offset;
  return o;
}

bool Run::same_map(Range where) {
  const uint64_t first_page = (where.start - kOracleWindow) >> kPageShift;
  const uint64_t end_page = (where.end - kOracleWindow) >> kPageShift;
  auto expected = std::ranges::upper_bound(expected_, first_page, {}, &OracleVma::end);
  for (const VmaInfo& v : space().vmas_in(where)) {
    if (expected == expected_.end() || expected->start >= end_page || *expected != seen(v)) {
      return false;
    }
    ++expected;
  }
  return expected == expected_.end() || expected->start >= end_page;
}

std::unique_ptr<OracleMismatch> Run::mismatch(const OracleOp& op, std::string what, Range where) {
  auto m = std::make_unique<OracleMismatch>();
  m->line = op.line;
  m->operation = r_.text_of(op);
  m->what = std::move(what);
  const uint64_t first_page = (where.start - kOracleWindow) >> kPageShift;
  const uint64_t end_page = (where.end - kOracleWindow) >> kPageShift;
  for (const OracleVma& v : expected_) {
    if (v.end > first_page && v.start < end_page) m->linux_map.push_back(to_string(v, r_));
  }
  for (const VmaInfo& v : space().vmas_in(where)) {
    m->pervma_map.push_back(to_string(seen(v), r_));
  }
  return m;
}

}  // namespace

Result<OracleWorld> OracleWorld::create(Engine& engine, Design design, const OracleRecording& r) {
  SpaceOptions options;
  options.design = design;
  options.lowest = kLowest;
  options.top = kTop;
  options.mmap_base = kTop;
  options.anon_names = AnonNames::refused;
  if (r.memlock >= 0) options.memlock_limit = static_cast<uint64_t>(r.memlock) << kPageShift;

  OracleWorld w;
  Result<std::unique_ptr<AddressSpace>> space = engine.create_space(options);
  if (!space) return std::unexpected(space.error());
  w.spaces_.push_back(std::move(*space));

  std::vector<std::shared_ptr<BackingObject>> objects;
  objects.reserve(r.files.size() + 2);
  for (const OracleFile& f : r.files) {
    objects.push_back(std::make_shared<PatternFile>(objects.size() + 1, f.bytes, f.base));
  }
  while (objects.size() < 2) {
    objects.push_back(std::make_shared<PatternFile>(objects.size() + 1, 0, uint8_t{0}));
  }
  const std::pair<size_t, FileMode> openings[kOracleOpenings] = {{0, FileMode::read_write},
                                                                 {1, FileMode::read_write},
                                                                 {0, FileMode::read_only},
                                                                 {0, FileMode::read_write}};
  for (const auto& [object, mode] : openings) {
    Result<FileRef> file = engine.open(objects[object], mode);
    if (!file) return std::unexpected(file.error());
    w.openings_.push_back(std::move(*file));
  }

  // The rest of the address space: mappings that merge with nothing.
  Result<FileRef> filler =
      engine.open(std::make_shared<PatternFile>(0, 0, uint8_t{0}), FileMode::read_write);
  if (!filler) return std::unexpected(filler.error());
  for (const Range gap : {Range{kLowest, kOracleWindow}, Range{kWindowEnd, kTop}}) {
    const Result<Address> mapped = w.space().map({.address = gap.start,
                                                  .length = gap.bytes(),
                                                  .flags = MapFlags::shared | MapFlags::fixed,
                                                  .file = *filler});
    if (!mapped) return std::unexpected(mapped.error());
  }
  if (r.brk >= 0) w.space().set_brk_start(kOracleWindow + PageCount{static_cast<uint64_t>(r.brk)});
  return w;
}

Result<void> OracleWorld::fork(Engine& engine) {
  Result<std::unique_ptr<AddressSpace>> child = engine.fork(space());
  if (!child) return std::unexpected(child.error());
  spaces_.push_back(std::move(*child));
  return {};
}

OracleBacking OracleWorld::backing_of(const VmaInfo& v) {
  if (!v.has_file) return {};
  if (v.device_major == kFileDevice) {
    return {OracleBacking::kFirstFile + static_cast<uint32_t>(v.inode) - 1};
  }
  auto known = std::ranges::find(shared_, v.inode);
  if (known == shared_.end()) known = shared_.insert(shared_.end(), v.inode);
  return {OracleBacking::kFirstShared + static_cast<uint32_t>(known - shared_.begin())};
}

Result<OracleRunner> OracleRunner::create(Design design) {
  Result<std::unique_ptr<Engine>> engine = Engine::create({.frames = {uint64_t{1} << 20}});
  if (!engine) return std::unexpected(engine.error());
  return OracleRunner(std::move(*engine), design);
}

Result<OracleOutcome> OracleRunner::run(const OracleRecording& recording) {
  Result<OracleWorld> world = OracleWorld::create(*engine_, design_, recording);
  if (!world) return std::unexpected(world.error());
  return Run(*engine_, recording, std::move(*world)).all();
}

}  // namespace pervma::trace

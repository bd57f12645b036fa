#include "trace/oracle_run.h"

#include <fmt/format.h>

#include <algorithm>

namespace pervma::trace {

namespace {

constexpr Range kWindow{kOracleWindow, kOracleWindow + PageCount{kOracleWindowPages}};

bool same_bits(std::string_view recorded, std::span<const uint8_t> bits) noexcept {
  if (recorded.size() != bits.size()) return false;
  for (size_t i = 0; i < bits.size(); ++i) {
    if (recorded[i] != '.' && (recorded[i] == '1') != ((bits[i] & 1) != 0)) return false;
  }
  return true;
}

std::string bits_text(std::span<const uint8_t> bits) {
  std::string text;
  for (const uint8_t bit : bits) text += (bit & 1) != 0 ? '1' : '0';
  return text.empty() ? "-" : text;
}

// A page is to be moved from a hole to where one is: Linux names the hole where it has no page
// table for it, else what is in the way. Whether an empty table is left is nothing to compare.
bool is_either_refusal(const OracleOp& op, const OracleAnswer& a) noexcept {
  constexpr uint32_t kOverHoles = 2;
  const auto refuses = [](int error) {
    return error == static_cast<int>(Error::exist) || error == static_cast<int>(Error::noent);
  };
  return op.call == OracleCall::uffd_move && (op.flags & kOverHoles) == 0 &&
         refuses(op.answer.error) && refuses(a.error);
}

uint64_t page_of(Address a) noexcept { return (a - kOracleWindow) >> kPageShift; }

// Runs one recording.
class Run {
 public:
  Run(const OracleRecording& recording, OracleReplica replica, bool stopped)
      : r_(recording), replica_(std::move(replica)), stopped_(stopped) {}

  OracleOutcome all();

 private:
  bool step(const OracleOp& op, OracleOutcome& outcome);
  std::string wrong_when_stopped(const OracleOp& op);
  bool same_answer(const OracleOp& op, const OracleAnswer& a) const noexcept;
  bool same_map(Range where);
  bool same_as_dump(const OracleOp& op) const;
  std::string wrong_at_the_end();
  std::string wrong_in_text();
  std::string answer_text(const OracleOp& op, const OracleAnswer& a) const;
  std::unique_ptr<OracleMismatch> mismatch(const OracleOp& op, std::string what, Range where);

  const OracleRecording& r_;
  OracleReplica replica_;
  const bool stopped_;
  std::vector<OracleVma> expected_;  // Linux's list
  std::vector<OracleVma> seen_;      // pervma's, of one neighbourhood
};

OracleOutcome Run::all() {
  OracleOutcome outcome;
  for (const OracleOp& op : r_.ops) {
    if (!step(op, outcome)) return outcome;
  }
  if (r_.ops.empty()) return outcome;
  if (std::string wrong = wrong_at_the_end(); !wrong.empty()) {
    outcome.mismatch = mismatch(r_.ops.back(), std::move(wrong), kWindow);
  }
  return outcome;
}

// False: a difference.
bool Run::step(const OracleOp& op, OracleOutcome& outcome) {
  if (stopped_) {
    if (std::string wrong = wrong_when_stopped(op); !wrong.empty()) {
      outcome.mismatch = mismatch(op, std::move(wrong), kWindow);
      return false;
    }
  }
  const OracleAnswer answer = replica_.execute(op);
  ++outcome.operations;
  const bool sane = apply_oracle_change(r_, op, expected_) && (!op.has_dump || same_as_dump(op));
  const Range where = op.has_dump ? kWindow : oracle_neighbourhood(r_, op, answer);
  std::string what;
  if (!sane) {
    what = "the recording's changes do not fit its own list";
  } else if (!same_answer(op, answer)) {
    what = "pervma answered " + answer_text(op, answer);
  } else if (!same_map(where)) {
    what = "the maps differ";
  } else {
    return true;
  }
  outcome.mismatch = mismatch(op, std::move(what), where);
  return false;
}

// A caller that is killed while it waits for the lock gets no answer that anybody sees, and nothing
// has changed. What needs no lock may be done or refused as ever.
std::string Run::wrong_when_stopped(const OracleOp& op) {
  if (op.call == OracleCall::read || op.call == OracleCall::write) return {};
  std::stop_source source;
  source.request_stop();
  const OracleAnswer answer = replica_.execute(op, source.get_token());
  const bool ended = answer.error == static_cast<int32_t>(Error::intr);
  if (!ended && op.call != OracleCall::brk && answer != op.answer) {
    return "pervma answered a stopped call with " + answer_text(op, answer);
  }
  return same_map(kWindow) ? "" : "a stopped call changed the map";
}

bool Run::same_answer(const OracleOp& op, const OracleAnswer& a) const noexcept {
  if (is_either_refusal(op, a)) return true;
  if (op.answer != a) return false;
  return op.call != OracleCall::mincore || a.error != 0 ||
         same_bits(r_.bits_of(op), replica_.bits());
}

std::string Run::answer_text(const OracleOp& op, const OracleAnswer& a) const {
  std::string text(text_of(op.call, a).view());
  if (op.call == OracleCall::mincore && a.error == 0) text += " " + bits_text(replica_.bits());
  return text;
}

bool Run::same_as_dump(const OracleOp& op) const {
  return std::equal(expected_.begin(), expected_.end(), r_.vmas.begin() + op.dump_first,
                    r_.vmas.begin() + op.dump_first + op.dump_count);
}

bool Run::same_map(Range where) {
  const auto first = std::ranges::upper_bound(expected_, page_of(where.start), {}, &OracleVma::end);
  replica_.vmas_in(where, seen_);
  const auto left = static_cast<size_t>(expected_.end() - first);
  if (left < seen_.size() || !std::equal(seen_.begin(), seen_.end(), first)) return false;
  const auto after = first + static_cast<ptrdiff_t>(seen_.size());
  return after == expected_.end() || after->start >= page_of(where.end);
}

// Every structure is whole, and every way of looking shows the list.
std::string Run::wrong_at_the_end() {
  AddressSpace& space = replica_.space();
  if (std::string wrong = space.check(); !wrong.empty()) return "check: " + wrong;
  if (!same_map(kWindow)) return "the maps differ";
  const std::vector<VmaInfo> all = space.vmas();
  const SpaceStatistics counts = space.statistics();
  if (all.size() != space.map_count() || counts.vmas != all.size() ||
      counts.mapped != space.mapped_pages()) {
    return "the counts differ from the list";
  }
  const std::vector<VmaInfo> inside = space.vmas_in(kWindow);
  if (inside.size() != expected_.size()) return "the list of the window differs from the map's";
  Address last = kWindow.start;
  for (const VmaInfo& v : inside) {
    const std::optional<VmaInfo> found = space.find_vma(v.range.end - kPageSize);
    if (!found || found->range != v.range) return "a VMA is not found by its address";
    if (v.range.start > last && (space.find_vma(last) || space.try_read_vma(last))) {
      return "a VMA is found where there is none";
    }
    last = v.range.end;
    // Last: nothing that waits for the map's lock may come while a VMA is held.
    const std::optional<VmaRead> held = space.try_read_vma(v.range.start);
    if (held && held->info().range != v.range) return "another VMA is held than the one there";
  }
  return wrong_in_text();
}

std::string Run::wrong_in_text() {
  const std::string text = replica_.space().to_maps();
  size_t at = 0;
  for (const OracleVma& v : expected_) {
    const bool anonymous = v.backing.index == OracleBacking::kAnonymous;
    const std::string line = fmt::format(
        "{:08x}-{:08x} {}{}{}{} {:08x} ", kOracleWindow.value + (v.start << kPageShift),
        kOracleWindow.value + (v.end << kPageShift), v.flags.has(VmaFlag::read) ? 'r' : '-',
        v.flags.has(VmaFlag::write) ? 'w' : '-', v.flags.has(VmaFlag::exec) ? 'x' : '-',
        v.flags.has(VmaFlag::may_share) ? 's' : 'p', anonymous ? 0 : v.offset << kPageShift);
    at = text.find(line, at);
    if (at == std::string::npos) return "the text of the map has no line " + line;
  }
  return {};
}

std::unique_ptr<OracleMismatch> Run::mismatch(const OracleOp& op, std::string what, Range where) {
  auto m = std::make_unique<OracleMismatch>();
  m->line = op.line;
  m->index = static_cast<uint32_t>(&op - r_.ops.data());
  m->operation = r_.text_of(op);
  m->what = std::move(what);
  for (const OracleVma& v : expected_) {
    if (v.end > page_of(where.start) && v.start < page_of(where.end)) {
      m->linux_map.push_back(to_string(v, r_));
    }
  }
  replica_.vmas_in(where, seen_);
  for (const OracleVma& v : seen_) m->pervma_map.push_back(to_string(v, r_));
  return m;
}

}  // namespace

bool apply_oracle_change(const OracleRecording& r, const OracleOp& op,
                         std::vector<OracleVma>& list) {
  const auto at = [&](uint64_t start) {
    return std::ranges::lower_bound(list, start, {}, &OracleVma::start);
  };
  for (uint32_t i = 0; i < op.gone_count; ++i) {
    const auto it = at(r.gone[op.gone_first + i]);
    if (it == list.end() || it->start != r.gone[op.gone_first + i]) return false;
    list.erase(it);
  }
  for (uint32_t i = 0; i < op.new_count; ++i) {
    const OracleVma& v = r.vmas[op.new_first + i];
    list.insert(at(v.start), v);
  }
  return true;
}

Range oracle_neighbourhood(const OracleRecording& r, const OracleOp& op,
                           const OracleAnswer& answer) {
  switch (op.call) {
    case OracleCall::mlockall:
    case OracleCall::munlockall:
    case OracleCall::fork:
    case OracleCall::brk: return kWindow;
    default: break;
  }
  Address low = kWindow.end;
  Address high = kWindow.start;
  const auto add = [&](Address start, uint64_t length) {
    if (start < kWindow.start || start > kWindow.end) return;
    low = std::min(low, start);
    high = std::max(high, start + std::min(length, kWindow.end - start));
  };
  add(op.address, op.length);
  add(answer.place, std::max(op.length, op.new_length));
  add(op.new_address, op.new_length);
  for (uint32_t i = 0; i < op.gone_count; ++i) {
    add(kOracleWindow + PageCount{r.gone[op.gone_first + i]}, kPageSize);
  }
  for (uint32_t i = 0; i < op.new_count; ++i) {
    const OracleVma& v = r.vmas[op.new_first + i];
    add(kOracleWindow + PageCount{v.start}, (v.end - v.start) << kPageShift);
  }
  if (low > high) return kWindow;
  return Range{low.page_down() - kPageSize, high.page_down() + 2 * kPageSize}.intersection(kWindow);
}

Result<OracleRunner> OracleRunner::create(Design design, const ReplicaOptions& options) {
  Result<std::unique_ptr<Engine>> engine = Engine::create({.frames = {uint64_t{1} << 20}});
  if (!engine) return std::unexpected(engine.error());
  return OracleRunner(std::move(*engine), design, options);
}

Result<OracleOutcome> OracleRunner::run(const OracleRecording& recording) {
  Result<OracleReplica> replica =
      OracleReplica::create(*engine_, design_, recording.setup, recording.files, options_);
  if (!replica) return std::unexpected(replica.error());
  return Run(recording, std::move(*replica), options_.stopped).all();
}

}  // namespace pervma::trace

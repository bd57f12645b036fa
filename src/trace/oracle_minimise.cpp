#include "trace/oracle_minimise.h"

#include <fmt/format.h>

#include <algorithm>

#include "trace/oracle_recorder.h"
#include "trace/oracle_scribe.h"

namespace pervma::trace {

namespace {

std::vector<OracleOperation> operations_of(const OracleRecording& r, uint32_t last) {
  std::vector<OracleOperation> list;
  for (uint32_t i = 0; i <= last; ++i) list.push_back(r.ops[i]);
  return list;
}

// Cut behind the operation that differs.
std::string cut_text(const OracleRecording& r, uint32_t at) {
  const size_t end =
      at + 1 < r.ops.size() ? r.ops[at + 1].text : r.text.rfind('\n', r.text.size() - 2) + 1;
  return r.text.substr(0, end) + fmt::format("E {}\n", at + 1);
}

// What differs shows against the running kernel.
class AgainstKernel {
 public:
  AgainstKernel(OracleRunner& runner, const OracleRecording& original, OracleCall call)
      : runner_(runner), setup_(original.setup), call_(call) {}

  std::optional<size_t> shows_at(std::span<const OracleOperation> operations) {
    Result<LiveRecording> live = record_operations(setup_, operations);
    if (!live) return std::nullopt;
    const TraceResult<OracleRecording> r = parse_oracle_recording("", std::move(live->text));
    if (!r) return std::nullopt;
    const Result<OracleOutcome> outcome = runner_.run(*r);
    if (!outcome || outcome->mismatch == nullptr) return std::nullopt;
    const uint32_t at = outcome->mismatch->index;
    if (r->ops[at].call != call_) return std::nullopt;
    last_text_ = cut_text(*r, at);
    return at;
  }

  // Of the candidate that showed it last; the final one is executed once more to be sure of it.
  const std::string& last_text() const noexcept { return last_text_; }

 private:
  OracleRunner& runner_;
  const OracleSetup setup_;
  const OracleCall call_;
  std::string last_text_;
};

// What differs shows in how pervma answers the last operation, in the same surroundings.
class AgainstRecording {
 public:
  AgainstRecording(OracleRunner& runner, const OracleRecording& original, uint32_t at)
      : runner_(runner), original_(original), at_(at), op_(original.ops[at]) {}

  // Learns how pervma answers in the original. False: no memory.
  bool learn() {
    std::optional<Behaviour> seen = behaviour(operations_of(original_, at_));
    if (!seen) return false;
    wanted_ = std::move(*seen);
    return true;
  }

  std::optional<size_t> shows_at(std::span<const OracleOperation> operations) {
    std::optional<Behaviour> seen = behaviour(operations);
    if (!seen || *seen != wanted_) return std::nullopt;
    return operations.size() - 1;
  }

  // pervma's own answers before the last operation, the recorded one for it.
  std::string text(std::span<const OracleOperation> operations) {
    Result<OracleReplica> replica = fresh();
    if (!replica) return {};
    OracleScribe scribe(std::move(*replica));
    for (const OracleOperation& op : operations.first(operations.size() - 1)) scribe.operation(op);
    const std::string_view line = original_.text_of(original_.ops[at_]);
    const size_t arrow = line.find(" -> ");
    std::string text =
        oracle_head(original_.setup, "profile=directed") + scribe.lines() +
        fmt::format("O {} {}{}\n", scribe.count(), text_of(op_).view(), line.substr(arrow));
    for (uint32_t i = 0; i < original_.ops[at_].gone_count; ++i) {
      const uint64_t start = original_.gone[original_.ops[at_].gone_first + i];
      text += fmt::format("- {}-{}\n", start, start + 1);  // Only the start is looked at.
    }
    for (uint32_t i = 0; i < original_.ops[at_].new_count; ++i) {
      text += "+ " + to_string(original_.vmas[original_.ops[at_].new_first + i], original_) + "\n";
    }
    return text + fmt::format("E {}\n", operations.size());
  }

 private:
  // What a VMA is besides what it shows: what later merges and faults depend on.
  struct Hidden {
    uint64_t page_offset = 0;
    size_t identity = 0;  // of its anon_vma, numbered as they appear; 0: none
    std::vector<uint8_t> present;
    friend bool operator==(const Hidden&, const Hidden&) = default;
  };
  struct Behaviour {
    size_t forks = 0;
    std::vector<OracleVma> before;
    std::vector<Hidden> hidden;
    OracleAnswer answer;
    std::vector<uint8_t> bits;
    std::vector<OracleVma> after;
    friend bool operator==(const Behaviour&, const Behaviour&) = default;
  };

  Result<OracleReplica> fresh() {
    return OracleReplica::create(runner_.engine(), runner_.design(), original_.setup,
                                 original_.files, runner_.options());
  }

  static std::vector<Hidden> hidden_in(OracleReplica& replica, Range where) {
    std::vector<Hidden> list;
    std::vector<uint64_t> identities{0};
    for (const VmaInfo& v : replica.space().vmas_in(where)) {
      Hidden h;
      h.page_offset = v.page_offset;
      auto known = std::ranges::find(identities, v.anon_vma);
      if (known == identities.end()) known = identities.insert(known, v.anon_vma);
      h.identity = static_cast<size_t>(known - identities.begin());
      const Range part = v.range.intersection(where);
      h.present.resize(part.pages().value);
      (void)replica.space().residency(part.start, part.bytes(), h.present);
      list.push_back(std::move(h));
    }
    return list;
  }

  std::optional<Behaviour> behaviour(std::span<const OracleOperation> operations) {
    Result<OracleReplica> replica = fresh();
    if (!replica) return std::nullopt;
    for (const OracleOperation& op : operations.first(operations.size() - 1)) replica->execute(op);
    const Range where =
        oracle_neighbourhood(original_, original_.ops[at_], original_.ops[at_].answer);
    Behaviour b;
    b.forks = static_cast<size_t>(
        std::ranges::count(operations, OracleCall::fork, &OracleOperation::call));
    replica->vmas_in(where, b.before);
    b.hidden = hidden_in(*replica, where);
    b.answer = replica->execute(operations.back());
    if (op_.call == OracleCall::mincore) {
      b.bits.assign(replica->bits().begin(), replica->bits().end());
    }
    replica->vmas_in(where, b.after);
    return b;
  }

  OracleRunner& runner_;
  const OracleRecording& original_;
  const uint32_t at_;
  const OracleOperation op_;
  Behaviour wanted_;
};

// Whether the text is a recording whose difference is at its last operation.
bool differs_at_its_end(OracleRunner& runner, const std::string& text) {
  const TraceResult<OracleRecording> r = parse_oracle_recording("", text);
  if (!r) return false;
  const Result<OracleOutcome> outcome = runner.run(*r);
  return outcome && outcome->mismatch != nullptr && outcome->mismatch->index + 1 == r->ops.size();
}

}  // namespace

Result<Minimised> minimise_recording(OracleRunner& runner, const OracleRecording& recording,
                                     uint32_t differs_at) {
  const std::vector<OracleOperation> all = operations_of(recording, differs_at);
  AgainstKernel kernel(runner, recording, all.back().call);
  const auto on_kernel = [&](std::span<const OracleOperation> ops) { return kernel.shows_at(ops); };
  if (const std::optional<Shrunk> shrunk =
          shrink_operations(all, on_kernel, {.most_tries = 3000})) {
    if (kernel.shows_at(shrunk->operations)) {
      return Minimised{kernel.last_text(), shrunk->operations.size(), shrunk->tries,
                       AnswersOf::running_kernel};
    }
  }
  AgainstRecording recorded(runner, recording, differs_at);
  if (!recorded.learn()) return std::unexpected(Error::nomem);
  const auto on_recording = [&](std::span<const OracleOperation> ops) {
    return recorded.shows_at(ops);
  };
  if (const std::optional<Shrunk> shrunk =
          shrink_operations(all, on_recording, {.last = LastOperation::is_fixed})) {
    std::string text = recorded.text(shrunk->operations);
    if (differs_at_its_end(runner, text)) {
      return Minimised{std::move(text), shrunk->operations.size(), shrunk->tries,
                       AnswersOf::recording};
    }
  }
  return Minimised{cut_text(recording, differs_at), all.size(), 0, AnswersOf::recording};
}

}  // namespace pervma::trace

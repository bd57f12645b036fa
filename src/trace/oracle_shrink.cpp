#include "trace/oracle_shrink.h"

#include <algorithm>

namespace pervma::trace {

namespace {

class Shrinker {
 public:
  Shrinker(std::span<const OracleOperation> operations, const ShowsAt& shows_at,
           const ShrinkOptions& options)
      : shows_at_(shows_at), options_(options), kept_(operations.begin(), operations.end()) {}

  std::optional<Shrunk> run();

 private:
  using List = std::vector<OracleOperation>;

  // Keeps the candidate if it still shows there.
  bool accept(List candidate);
  bool leave_out_runs();
  bool simplify_arguments();
  bool simplify(size_t i);
  bool may_try() const noexcept { return tries_ < options_.most_tries; }
  // Operations that may be left out or changed.
  size_t free_count() const noexcept {
    return kept_.size() - (options_.last == LastOperation::is_fixed ? 1 : 0);
  }

  const ShowsAt& shows_at_;
  const ShrinkOptions options_;
  List kept_;
  uint32_t tries_ = 0;
};

bool Shrinker::accept(List candidate) {
  ++tries_;
  const std::optional<size_t> at = shows_at_(candidate);
  if (!at || *at >= candidate.size()) return false;
  if (options_.last == LastOperation::is_fixed && *at + 1 != candidate.size()) return false;
  candidate.resize(*at + 1);
  kept_ = std::move(candidate);
  return true;
}

bool Shrinker::leave_out_runs() {
  bool shorter = false;
  for (size_t run = std::max<size_t>(free_count() / 2, 1);; run /= 2) {
    for (size_t at = 0; at < free_count() && may_try();) {
      const size_t n = std::min(run, free_count() - at);
      List candidate(kept_.begin(), kept_.begin() + static_cast<ptrdiff_t>(at));
      candidate.insert(candidate.end(), kept_.begin() + static_cast<ptrdiff_t>(at + n),
                       kept_.end());
      if (!candidate.empty() && accept(std::move(candidate))) {
        shorter = true;
      } else {
        at += n;
      }
    }
    if (run <= 1) return shorter;
  }
}

// What each argument could be instead, simplest first.
std::vector<OracleOperation> simpler(const OracleOperation& op) {
  std::vector<OracleOperation> list;
  const auto with = [&](auto change) {
    OracleOperation other = op;
    change(other);
    if (other != op) list.push_back(other);
  };
  for (uint32_t bit = 1; bit != 0; bit <<= 1) {
    // The type of a mapping, and what places it, is no ornament.
    constexpr uint32_t kNeeded = 0x100033;
    if ((op.flags & bit) == 0) continue;
    if (op.call == OracleCall::mmap && (bit & kNeeded) != 0) continue;
    with([&](OracleOperation& o) { o.flags &= ~bit; });
  }
  if (op.call == OracleCall::mmap && op.file != 0) {
    with([](OracleOperation& o) {
      o.file = 0;
      o.flags |= 0x20;
      o.offset = 0;
    });
  }
  with([](OracleOperation& o) { o.offset = 0; });
  with([](OracleOperation& o) { o.address = o.address.page_down(); });
  with([](OracleOperation& o) { o.length = (o.length + kPageMask) & ~kPageMask; });
  with([](OracleOperation& o) { o.length = o.length > kPageSize ? kPageSize : o.length; });
  with([](OracleOperation& o) {
    if (o.length > kPageSize) o.length = (o.length / 2 + kPageMask) & ~kPageMask;
  });
  with([](OracleOperation& o) {
    if (o.length > kPageSize && o.length < kOracleWindowPages * kPageSize) o.length -= kPageSize;
  });
  with([](OracleOperation& o) { o.new_length = std::min(o.new_length, o.length); });
  with([](OracleOperation& o) { o.byte = 1; });
  if (op.call == OracleCall::mmap || op.call == OracleCall::mprotect) {
    with([](OracleOperation& o) { o.prot &= 7; });
    with([](OracleOperation& o) { o.prot = 3; });
    with([](OracleOperation& o) { o.prot = 1; });
  }
  return list;
}

bool Shrinker::simplify(size_t i) {
  bool changed = false;
  for (bool again = true; again && may_try();) {
    again = false;
    for (const OracleOperation& other : simpler(kept_[i])) {
      if (!may_try()) break;
      // Only what is simpler by some measure, so that it ends: rw- is, and so is r-- behind it.
      const bool backwards = other.prot != kept_[i].prot && kept_[i].prot == 3;
      if (backwards) continue;
      List candidate = kept_;
      candidate[i] = other;
      const size_t before = kept_.size();
      if (!accept(std::move(candidate))) continue;
      changed = again = true;
      if (kept_.size() != before && i >= kept_.size()) return true;
      break;
    }
  }
  return changed;
}

bool Shrinker::simplify_arguments() {
  bool changed = false;
  for (size_t i = 0; i < free_count() && may_try(); ++i) changed = simplify(i) || changed;
  return changed;
}

std::optional<Shrunk> Shrinker::run() {
  if (kept_.empty() || !accept(kept_)) return std::nullopt;
  for (bool again = true; again && may_try();) {
    (void)leave_out_runs();
    again = simplify_arguments();
  }
  return Shrunk{std::move(kept_), tries_};
}

}  // namespace

std::optional<Shrunk> shrink_operations(std::span<const OracleOperation> operations,
                                        const ShowsAt& shows_at, const ShrinkOptions& options) {
  return Shrinker(operations, shows_at, options).run();
}

}  // namespace pervma::trace

#include "trace/dependencies.h"

#include <algorithm>
#include <map>

#include "trace/interval_map.h"

namespace pervma::trace {

namespace {

constexpr Range kEverything{Address{0}, Address{~uint64_t{0}}};

struct Piece {
  Range range;
  uint64_t anon_vma;
};

// What of one space later operations may depend on.
struct SpaceOrder {
  OpIndex last_change = kNoOp;
  IntervalMap<OpIndex> changed_by;  // the last change of each address
  IntervalMap<OpIndex>
      structured_by;  // the last change or making of an anon_vma, adjacent VMAs included
  IntervalMap<OpIndex> anon_since;  // what gave the VMA there its anon_vma
  // Operations on pages since they were last changed: by page, the latest of each thread.
  std::map<uint64_t, std::vector<std::pair<ThreadIndex, OpIndex>>> touched;
  std::vector<std::pair<Range, OpIndex>> range_readers;
};

class Finder {
 public:
  Finder(const Script& script, const Recording& recording)
      : script_(script),
        rec_(recording),
        orders_(script.spaces.size()),
        ops_of_thread_(recording.threads.size()) {}

  Result<Dependencies> find(const Visit& visit);

 private:
  void before(OpIndex);
  void after(OpIndex);
  void before_fault(OpIndex, const Op&, SpaceOrder&);
  void after_fault(OpIndex, const Op&, SpaceOrder&);
  void before_change(OpIndex, const Op&, SpaceOrder&);
  void after_change(OpIndex, const Op&, SpaceOrder&);
  void depend(OpIndex on) {
    if (on != kNoOp) found_.push_back(on);
  }
  void depend_on(const IntervalMap<OpIndex>& map, Range r) {
    map.for_each(r, [&](Range, OpIndex op) { depend(op); });
  }
  OpIndex last_before_creation(const Thread&) const;
  // The VMAs that meet the range, and those adjacent to it.
  std::vector<Piece> around(SpaceIndex, Range) const;
  Range affected(const Op&) const;
  void touch(SpaceOrder&, Range, ThreadIndex, OpIndex);

  const Script& script_;
  const Recording& rec_;
  std::unique_ptr<Stage> stage_;
  std::vector<SpaceOrder> orders_;
  std::vector<std::vector<OpIndex>> ops_of_thread_;
  std::vector<OpIndex> found_;
  std::vector<Piece> around_before_;
  Range affected_{};
};

std::vector<Piece> Finder::around(SpaceIndex s, Range r) const {
  std::vector<Piece> pieces;
  const AddressSpace* space = stage_->space(s);
  if (space == nullptr || r.empty()) return pieces;
  const auto add = [&](Address a) -> std::optional<Range> {
    const std::optional<VmaInfo> v = space->find_vma(a);
    if (!v) return std::nullopt;
    if (pieces.empty() || pieces.back().range != v->range) {
      pieces.push_back({v->range, v->anon_vma});
    }
    return v->range;
  };
  if (r.start.value >= kPageSize) (void)add(r.start - kPageSize);
  for (const VmaInfo& v : space->vmas_in(r)) {
    if (pieces.empty() || pieces.back().range != v.range) pieces.push_back({v.range, v.anon_vma});
  }
  (void)add(r.end);
  return pieces;
}

// A move touches both places; a stack that grows, all of it.
Range Finder::affected(const Op& op) const {
  if (op.kind == OpKind::user_fault || op.kind == OpKind::kernel_fault) {
    return script_.seen[op.first_seen].range;
  }
  if (op.kind != OpKind::remap) return op.range();
  return {op.address, op.address + page_align_up(std::max(op.offset, op.arg)).value_or(0)};
}

void Finder::touch(SpaceOrder& order, Range r, ThreadIndex thread, OpIndex i) {
  auto& threads = order.touched[r.start.page()];
  for (auto& [t, op] : threads) {
    if (t == thread) {
      op = i;
      return;
    }
  }
  threads.emplace_back(thread, i);
}

void Finder::before_fault(OpIndex i, const Op& op, SpaceOrder& order) {
  const Range page = op.range();
  depend_on(order.changed_by, page);
  around_before_.clear();
  touch(order, page, op.thread, i);
  const AddressSpace* space = stage_->space(op.space);
  if (space == nullptr) return;
  const std::optional<VmaInfo> v = space->find_vma(op.address);
  if (!v || v->flags.has(VmaFlag::may_share)) return;
  if ((op.error_code & fault_code::kWrite) == 0 && op.kind == OpKind::user_fault) return;
  if (v->anon_vma != 0) {
    depend_on(order.anon_since, page);
  } else {
    around_before_ = around(op.space, v->range);
  }
}

void Finder::after_fault(OpIndex i, const Op& op, SpaceOrder& order) {
  if (around_before_.empty()) return;
  const std::optional<VmaInfo> v = stage_->space(op.space)->find_vma(op.address);
  if (!v || v->anon_vma == 0) return;
  for (const Piece& piece : around_before_) {
    depend_on(order.structured_by, piece.range);
    order.structured_by.assign(piece.range, i);
  }
  order.anon_since.assign(v->range, i);
}

void Finder::before_change(OpIndex i, const Op& op, SpaceOrder& order) {
  (void)i;
  depend(order.last_change);
  affected_ = affected(op);
  around_before_ = around(op.space, affected_);
  if (op.kind == OpKind::remap && op.result >= 0) {
    const auto to = Address{static_cast<uint64_t>(op.result)};
    const auto more = around(op.space, {to, to + page_align_up(op.arg).value_or(0)});
    around_before_.insert(around_before_.end(), more.begin(), more.end());
  }
  const auto forget_touches = [&](Range r) {
    auto it = order.touched.lower_bound(r.start.page());
    while (it != order.touched.end() && it->first < r.end.page()) {
      for (const auto& [thread, on] : it->second) depend(on);
      it = order.touched.erase(it);
    }
    std::erase_if(order.range_readers, [&](const auto& reader) {
      if (!reader.first.intersects(r)) return false;
      depend(reader.second);
      return true;
    });
  };
  forget_touches(affected_);
  if (op.kind == OpKind::remap && op.result >= 0) {
    const auto to = Address{static_cast<uint64_t>(op.result)};
    forget_touches({to, to + page_align_up(op.arg).value_or(0)});
  }
  for (const Piece& piece : around_before_) depend_on(order.structured_by, piece.range);
}

void Finder::after_change(OpIndex i, const Op& op, SpaceOrder& order) {
  order.last_change = i;
  const auto mark = [&](Range r) {
    order.changed_by.assign(r, i);
    order.structured_by.assign(r, i);
    // A VMA that a merge gave an identity: faults there must come after it.
    for (const Piece& now : around(op.space, r)) {
      if (now.anon_vma == 0) continue;
      for (const Piece& then : around_before_) {
        if (then.anon_vma == 0) order.anon_since.assign(then.range.intersection(now.range), i);
      }
    }
  };
  for (const Piece& piece : around_before_) order.structured_by.assign(piece.range, i);
  mark(affected_);
  if (op.kind == OpKind::remap && op.result >= 0) {
    const auto to = Address{static_cast<uint64_t>(op.result)};
    mark({to, to + page_align_up(op.arg).value_or(0)});
  }
}

// What the creator had done when it made the thread.
OpIndex Finder::last_before_creation(const Thread& thread) const {
  if (thread.parent == kNoThread || thread.created == kNoEvent) return kNoOp;
  const uint32_t line = rec_.events[thread.created].line;
  OpIndex last = kNoOp;
  for (const OpIndex i : ops_of_thread_[thread.parent]) {
    if (script_.ops[i].line >= line) break;
    last = i;
  }
  return last;
}

void Finder::before(OpIndex i) {
  const Op& op = script_.ops[i];
  SpaceOrder& order = orders_[op.space];
  if (ops_of_thread_[op.thread].empty()) {
    depend(last_before_creation(rec_.threads[op.thread]));
  }
  switch (op.kind) {
    case OpKind::user_fault:
    case OpKind::kernel_fault:
      if (!op.writes_map) return before_fault(i, op, order);
      [[fallthrough]];
    default:
      if (op.range().empty() || op.kind == OpKind::new_space) {
        // The whole space: everything before, by its last toucher of each thread.
        depend(order.last_change);
        for (const auto& [page, threads] : order.touched) {
          for (const auto& [thread, on] : threads) depend(on);
        }
        for (const auto& [range, on] : order.range_readers) depend(on);
        return;
      }
      if (op.writes_map) return before_change(i, op, order);
      depend_on(order.changed_by, op.range());
      order.range_readers.emplace_back(op.range(), i);
  }
}

void Finder::after(OpIndex i) {
  const Op& op = script_.ops[i];
  SpaceOrder& order = orders_[op.space];
  ops_of_thread_[op.thread].push_back(i);
  if (!op.writes_map) {
    if (op.kind == OpKind::user_fault || op.kind == OpKind::kernel_fault) after_fault(i, op, order);
    return;
  }
  if (op.kind == OpKind::fork) {
    SpaceOrder& child = orders_[op.other];
    child.last_change = i;
    child.changed_by.assign(kEverything, i);
    child.structured_by.assign(kEverything, i);
    order.touched.clear();
    order.range_readers.clear();
    order.changed_by.assign(kEverything, i);
    order.structured_by.assign(kEverything, i);
    order.last_change = i;
    return;
  }
  if (op.range().empty() || op.kind == OpKind::new_space) {
    order.last_change = i;
    if (op.kind == OpKind::new_space) {
      order.changed_by.assign(kEverything, i);
      order.structured_by.assign(kEverything, i);
    }
    return;
  }
  after_change(i, op, order);
}

Result<Dependencies> Finder::find(const Visit& visit) {
  Result<std::unique_ptr<Stage>> stage = Stage::create(script_, Design::refcount);
  if (!stage) return std::unexpected(stage.error());
  stage_ = std::move(*stage);
  Dependencies deps;
  deps.first.reserve(script_.ops.size() + 1);
  PlayLog log;  // Differences are reported by the real run.
  for (OpIndex i = 0; i < script_.ops.size(); ++i) {
    found_.clear();
    before(i);
    stage_->play(script_.ops[i], log);
    after(i);
    deps.first.push_back(static_cast<uint32_t>(deps.of.size()));
    std::ranges::sort(found_);
    const auto repeated = std::ranges::unique(found_);
    found_.erase(repeated.begin(), repeated.end());
    for (const OpIndex on : found_) {
      if (script_.ops[on].thread != script_.ops[i].thread) deps.of.push_back(on);
    }
    if (visit && !visit(script_.ops[i], *stage_)) break;
  }
  deps.first.push_back(static_cast<uint32_t>(deps.of.size()));
  (void)stage_->finish(log);
  return deps;
}

}  // namespace

Result<Dependencies> find_dependencies(const Script& script, const Recording& recording,
                                       const Visit& visit) {
  return Finder(script, recording).find(visit);
}

}  // namespace pervma::trace

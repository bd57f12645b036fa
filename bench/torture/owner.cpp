#include "bench/torture/owner.h"

#include <fmt/format.h>

#include <algorithm>

namespace pervma::torture {

namespace {

// A file whose words tell where they are.
class PatternFile final : public BackingObject {
 public:
  explicit PatternFile(VmaLockSafety safety) : safety_(safety) {}

  uint64_t size() const noexcept override { return uint64_t{1} << 30; }
  VmaLockSafety vma_lock_safety() const noexcept override { return safety_; }
  const FileIdentity& identity() const noexcept override { return identity_; }
  Result<void> read_page(uint64_t index, std::span<std::byte, kPageSize> page) noexcept override {
    for (uint64_t w = 0; w < kPageSize / 8; ++w) {
      const uint64_t value = Page::file_word(index, w);
      std::ranges::copy(std::as_bytes(std::span(&value, 1)), page.begin() + w * 8);
    }
    return {};
  }

 private:
  const VmaLockSafety safety_;
  const FileIdentity identity_{8, 1, 4711, "/pattern"};
};

VmaLockSafety safety_of(unsigned owner) noexcept {
  constexpr VmaLockSafety kAll[] = {VmaLockSafety::memory, VmaLockSafety::audited,
                                    VmaLockSafety::unaudited};
  return kAll[owner % 3];
}

}  // namespace

Owner::Owner(Engine& engine, AddressSpace& space, Arena& arena, Monitor& monitor, unsigned self,
             Broken broken, uint64_t seed)
    : engine_(engine),
      space_(space),
      arena_(arena),
      monitor_(monitor),
      me_(monitor.thread(self)),
      self_(self),
      broken_(broken),
      base_(Arena::at(self * kPages)),
      random_{seed},
      object_(std::make_shared<PatternFile>(safety_of(self))),
      heap_end_(kHeap) {
  Result<FileRef> file = engine.open(object_, FileMode::read_write);
  if (file) file_ = std::move(*file);
  Result<std::unique_ptr<UserFaults>> faults = space.create_user_faults({.handler = &server_});
  if (faults) faults_ = std::move(*faults);
  server_.faults = faults_.get();
}

void Owner::step() {
  uint64_t sum = 0;
  for (const Operation& o : operations()) sum += o.weight;
  uint64_t pick = random_.below(sum);
  for (const Operation& o : operations()) {
    if (pick < o.weight) {
      (this->*o.run)();
      return;
    }
    pick -= o.weight;
  }
}

void Owner::check_all() {
  for (uint64_t p = 0; p < kPages && !monitor_.is_over(); ++p) {
    for (unsigned i = 0; i < Page::kWords.size(); ++i) load_word(space_, p, i, "last load");
  }
}

void Owner::violated(const std::string& what) { monitor_.violated(self_, self_, what); }

std::stop_token Owner::some_stop() {
  return random_.one_in(6) ? me_.fresh_stop() : std::stop_token();
}

Owner::Span Owner::any_span() {
  const uint64_t first = random_.below(kPages);
  return {first, 1 + random_.below(std::min<uint64_t>(kPages - first, 8))};
}

Owner::Span Owner::mapped_span() {
  Span span = any_span();
  uint64_t count = 0;
  while (count < span.count && pages_[span.first + count].mapped) ++count;
  return {span.first, count};
}

// Whether this page and the one before are in one VMA: nobody else maps or unmaps either.
bool Owner::joined(uint64_t page) const {
  if (page == 0 || page >= kPages) return false;
  const std::optional<VmaInfo> vma = space_.find_vma(at(page - 1));
  return vma && vma->range.contains(at(page));
}

// On which sides of the span the VMA goes on.
Owner::Joints Owner::joints(Span span) const {
  return {joined(span.first), joined(span.first + span.count)};
}

void Owner::count_edges(Joints before, Joints after) {
  for (size_t side = 0; side < before.size(); ++side) {
    if (before[side] && !after[side]) me_.count("edges: made (a split)");
    if (!before[side] && after[side]) me_.count("edges: gone (a merge)");
  }
}

void Owner::change(const Change& c) {
  std::vector<Page> next;
  std::vector<bool> marked;
  for (uint64_t i = c.span.first; i < c.span.first + c.span.count; ++i) {
    next.push_back(c.after(pages_[i], i));
    marked.push_back(c.replaces(i) || next.back().state() != pages_[i].state());
  }
  const Joints before = joints(c.span);
  me_.events.begin(c.what, at(c.span.first), c.span.count);
  const uint64_t mark = self_ * kPages + c.span.first;
  for (uint64_t i = 0; i < c.span.count; ++i) {
    if (marked[i]) arena_.mark(mark + i).begin();
  }
  const Result<void> done = c.run(some_stop());
  me_.events.end(done ? "done" : error_name(done.error()).data());
  me_.count(fmt::format("{}: {}", c.what, done ? "done" : error_name(done.error())));
  if (!done && !c.may_fail(done.error())) {
    settle(c, next, marked, done.error());
    return;
  }
  count_edges(before, joints(c.span));
  std::ranges::copy(next, pages_.begin() + static_cast<std::ptrdiff_t>(c.span.first));
  for (uint64_t i = 0; i < c.span.count; ++i) {
    if (marked[i]) arena_.mark(mark + i).end(next[i].state());
  }
}

// After a failure: nothing may have changed, or each page either not or as it was to.
void Owner::settle(const Change& c, const std::vector<Page>& next, const std::vector<bool>& marked,
                   Error error) {
  if (error == Error::intr) {
    me_.count("kills");
  } else {
    violated(fmt::format("{} at {:#x} + {} pages failed with {}", c.what, at(c.span.first).value,
                         c.span.count, error_name(error)));
  }
  for (uint64_t i = 0; i < c.span.count; ++i) {
    Page& page = pages_[c.span.first + i];
    Mark& mark = arena_.mark(self_ * kPages + c.span.first + i);
    const std::optional<VmaInfo> vma = space_.find_vma(at(c.span.first + i));
    const PageState now = vma ? PageState::of(vma->flags) : PageState();
    const bool is_new = marked[i] && now == next[i].state() &&
                        c.on_stop == Change::OnStop::part_done && now != page.state();
    if (!is_new && now != page.state()) {
      violated(fmt::format("{} at {:#x} was stopped, and left the page at {:#x} as {:#x}", c.what,
                           at(c.span.first).value, at(c.span.first + i).value, now.bits()));
    }
    if (page.stored != next[i].stored) page.may_be_fresh = true;
    if (is_new) page.flags = next[i].flags;
    if (!marked[i]) continue;
    if (is_new) {
      mark.end(now);
    } else {
      mark.cancel();
    }
  }
}

}  // namespace pervma::torture

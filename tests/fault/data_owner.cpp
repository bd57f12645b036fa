// data_owner.cpp: what an owner knows of its pages.
#include "tests/fault/data_owner.h"

#include <algorithm>
#include <cstring>

namespace pervma::test {

namespace {

constexpr Address kParts{0x10'0000'0000 - 2 * Owner::kPart * kPageSize};  // crosses tables
constexpr Address kHugePlaces{0x20'0000'0000};
constexpr Address kStackTops{0x30'0000'0000 + 64 * kPageSize};

}  // namespace

Owner::Owner(SoftEngine& engine, AddressSpace& space, ShadowTlb* tlb, unsigned self, unsigned seed,
             Mixture mixture)
    : engine_(engine),
      space_(space),
      tlb_(tlb),
      self_(self),
      random_(seed),
      mixture_(mixture),
      pages_(pages_of(mixture)) {
  for (const Kind kind : {Kind::copied, Kind::shared, Kind::memory}) {
    OwnedFile& f = file(kind);
    const auto safety = kind == Kind::shared ? VmaLockSafety::audited : VmaLockSafety::memory;
    f.object = std::make_shared<TestObject>(kPart * kPageSize, safety);
    f.ref = *engine.open(f.object, FileMode::read_write);
  }
  for (uint64_t i = 0; i < kWords; ++i) served_[i] = (i + 1) * 0x9e37'79b9'7f4a'7c15 + seed;
  if (mixture_ != Mixture::maps) begin_faults();
}

Owner::~Owner() { end_faults(); }

Address Owner::at(uint64_t page, uint64_t word) const {
  const auto place = [&] {
    if (is_in_huge_zone(page)) {
      return kHugePlaces + self_ * kRegions * kHugePageSize + (page - kPart - kStack) * kPageSize;
    }
    if (is_in_stack(page)) return kStackTops + (uint64_t{self_} << 30) + (page - kPart) * kPageSize;
    return kParts + (self_ * kPart + page) * kPageSize;
  };
  return place() + word * sizeof(uint64_t);
}

// A page that was dropped: the helper may bring it again at any moment.
auto Owner::forgotten(const Page& p) const -> Content {
  const bool told = p.modes != UserFaultModes::none;
  return {.state = told ? Content::State::open : Content::State::absent};
}

void Owner::write_words(PageBytes& bytes, const Words& words) {
  for (const auto& [word, value] : words) bytes[word] = value;
}

auto Owner::fresh_bytes(const Page& p) const -> PageBytes {
  PageBytes page{};
  if (p.kind == Kind::anon) return page;
  std::array<std::byte, kPageSize> bytes;
  for (uint64_t i = 0; i < kPageSize; ++i) bytes[i] = object_byte(p.index, i);
  std::memcpy(page.data(), bytes.data(), kPageSize);
  return page;
}

// Whether the page may have these bytes; what they tell is remembered, of a child's page only where
// it is the parent's too.
bool Owner::fits(uint64_t page, bool in_child, const PageBytes& bytes) {
  using State = Content::State;
  Page& p = pages_[page];
  Content& c = content_of(p);
  const bool settles = !in_child || is_shared(p);
  const auto is = [&](PageBytes base, const Words& words) {
    write_words(base, words);
    return base == bytes;
  };
  if (c.state == State::there) {
    if (is(c.is_served ? served_ : fresh_bytes(p), c.words)) return true;
    if (!c.may_vanish) return false;
    // Or it has vanished, and is what it was before somebody brought it.
    const Content gone{.state = State::open, .words = c.late, .late = c.late};
    if (!is(fresh_bytes(p), gone.words) && !is(served_, gone.words)) return false;
    if (!settles) return true;
    c = gone;
  }
  const bool missing_is_told = !in_child && c.state == State::open && !c.may_be_fresh &&
                               !is_in_huge_zone(page) && includes(p.modes, UserFaultModes::missing);
  const bool served = c.state == State::open && is(served_, c.words);
  if (!served && (missing_is_told || !is(fresh_bytes(p), c.words))) return false;
  if (settles) {
    c.state = State::there;
    c.is_served = served;
  }
  return true;
}

void Owner::looked_at(uint64_t page, const PageBytes& bytes, const char* by, bool in_child) {
  const Content before = content_of(pages_[page]);
  if (fits(page, in_child, bytes)) return;
  failed = true;
  const Page& p = pages_[page];
  PageBytes wanted = before.is_served ? served_ : fresh_bytes(p);
  write_words(wanted, before.words);
  uint64_t word = 0;
  while (word < kWords - 1 && wanted[word] == bytes[word]) ++word;
  ADD_FAILURE() << by << (in_child ? " in a child" : "") << ": owner " << self_ << " page " << page
                << " kind " << static_cast<int>(p.kind) << " index " << p.index << " modes "
                << static_cast<int>(p.modes) << " state " << static_cast<int>(before.state)
                << (before.is_served ? " served" : "") << (before.may_vanish ? " freed" : "")
                << (before.may_be_fresh ? " perhaps fresh" : "") << " words " << before.words.size()
                << ": word " << word << " is " << std::hex << bytes[word] << ", not "
                << wanted[word] << "; the helper's is " << served_[word];
}

// Whether the access did what it should; false: it was refused for good reason.
bool Owner::is_resolved(FaultOutcome outcome, uint64_t page, bool is_allowed) {
  Page& p = pages_[page];
  const FaultOutcome expected = !p.mapped          ? FaultOutcome::map_error
                                : !is_allowed      ? FaultOutcome::access_error
                                : is_beyond_end(p) ? FaultOutcome::bus_error
                                                   : FaultOutcome::resolved;
  const bool was_stopped = outcome == FaultOutcome::interrupted && faults_ != nullptr;
  const bool may_be_bus_error = expected == FaultOutcome::resolved &&
                                outcome == FaultOutcome::bus_error &&
                                (is_rough || p.modes != UserFaultModes::none);
  if (outcome == FaultOutcome::out_of_memory || was_stopped || may_be_bus_error) {
    ++refused_;
    if (was_stopped) count("accesses that were stopped");
    // Its first touch may have brought the page, and a second one failed.
    if (expected == FaultOutcome::resolved) content_of(p).may_be_fresh = true;
    return false;
  }
  EXPECT_EQ(outcome, expected) << "owner " << self_ << " page " << page;
  if (outcome != expected) failed = true;
  return outcome == FaultOutcome::resolved;
}

bool Owner::all_of(Span s, bool (*is)(const Page&)) const {
  const auto first = pages_.begin() + static_cast<std::ptrdiff_t>(s.first);
  return std::all_of(first, first + static_cast<std::ptrdiff_t>(s.count), is);
}

// Of ordinary memory, or at a place of huge pages.
auto Owner::any_span(uint64_t most) -> Span {
  const bool huge = mixture_ == Mixture::huge && pick(3) == 0;
  const uint64_t base = huge ? kPart + kStack : 0;
  const uint64_t size = huge ? kRegions * kRegion : kPart;
  const uint64_t first = pick(size);
  return {base + first, 1 + pick(std::min(size - first, most))};
}

void Owner::check_all() {
  for (uint64_t p = 0; p < pages_.size() && !failed; ++p) {
    if (!is_in_stack(p) || pages_[p].mapped) load_page(space_, p);
  }
}

}  // namespace pervma::test

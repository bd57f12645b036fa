// data_operations.cpp: what an owner does to his pages, and what becomes of their bytes by that.
#include <algorithm>
#include <cstring>

#include "tests/fault/data_owner.h"

namespace pervma::test {

namespace {

constexpr MapFlags kAnonFixed = MapFlags::private_ | MapFlags::anonymous | MapFlags::fixed;

}  // namespace

void Owner::step() {
  const Span s = any_span(6);
  if (mixture_ != Mixture::maps) {
    if (mixture_ == Mixture::huge && pick(4) == 0) return step_huge();
    if (pick(3) == 0) return step_more(s);
    if (pick(4) == 0) return step_served(s);
    if (tlb_ != nullptr && pick(4) == 0) return step_device();
    if (pick(12) == 0) return step_stack();
  }
  switch (pick(16)) {
    case 0: return protect(s, Prot::read);
    case 1: return protect(s, kReadWriteProt);
    case 2: return protect(s, pick(2) == 0 ? Prot::none : kReadWriteProt);
    case 3: return drop(s);
    case 4:
    case 5: return map_anew(s);
    case 6: return pick(2) == 0 ? unmap(s) : map_anew(s);
    case 7: return move(s);
    case 8:
    case 9: return load(s.first, pick(kWords));
    case 10: return load_page(space_, s.first);
    default: return store(s.first, pick(kWords));
  }
}

void Owner::step_more(Span s) {
  switch (pick(18)) {
    case 0: return map_file(Kind::copied, s);
    case 1: return map_file(Kind::shared, s);
    case 2: return truncate(static_cast<Kind>(1 + pick(3)));
    case 3: return sync(s);
    case 4:
    case 5: return insert(s);
    case 6:
    case 7:
    case 8: return page_out(s);
    case 9: return (void)space_.advise(at(s.first), s.count * kPageSize, Advice::cold);
    case 10: return (void)space_.clear_written(at(s.first), s.count * kPageSize);
    case 11: return lock_one(s.first);
    case 12: return fork();
    case 13: return fail_allocations();
    case 14: return give_up(s);
    case 15:
    case 16: return map_file(Kind::memory, s);
    default: return load_page(space_, s.first);
  }
}

void Owner::step_stack() {
  const uint64_t top = kPart + kStack;
  const bool is_there = pages_[top - 1].mapped;
  if (!is_there) {
    ASSERT_TRUE(space_.map({.address = at(top - 1),
                            .length = kPageSize,
                            .prot = kReadWriteProt,
                            .flags = kAnonFixed | MapFlags::growsdown}));
    pages_[top - 1] = {.mapped = true, .prot = kReadWriteProt};
    count("stacks");
  }
  const uint64_t page = kPart + pick(kStack);
  switch (pick(8)) {
    case 0:
      if (pick(4) == 0) return unmap({kPart, kStack});
      return;
    case 1: return drop({page, 1});
    case 2: return page_out({page, 1});
    case 3: return load_page(space_, page);
    default: return store(page, pick(kWords));
  }
}

void Owner::step_huge() {
  const uint64_t region = pick(kRegions);
  const uint64_t base = kPart + kStack + region * kRegion;
  const uint64_t first = pick(kRegion);
  const Span part{base + first, 1 + pick(kRegion - first)};
  switch (pick(20)) {
    case 0:
    case 1: return fill_region(region);
    case 2:
    case 3:
    case 4:
    case 5: return collapse(region);
    case 6: counts_["huge pages of the collapser's"] += engine_.collapse_some(4); return;
    case 7: return drop(part);
    case 8: return drop({base, kRegion});
    case 9: return pick(2) == 0 ? protect(part, Prot::read) : drop({base, kRegion});
    case 10: return protect({base, kRegion}, kReadWriteProt);
    case 11: return pick(2) == 0 ? unmap(part) : map_anew(part);
    case 12: return map_anew({base, kRegion});
    case 13: return page_out(part);
    case 14:
      return (void)space_.advise(at(base), kHugePageSize,
                                 pick(2) == 0 ? Advice::hugepage : Advice::nohugepage);
    case 15: return fork();
    case 16: return give_up(part);
    case 17: return move({base, kRegion});
    default: return store(part.first, pick(kWords));
  }
}

// --- accesses ---

// The stack's mapping may have come down to the page, whatever became of the access.
void Owner::note_growth(uint64_t page) {
  if (!is_in_stack(page) || pages_[page].mapped || !space_.find_vma(at(page))) return;
  for (uint64_t p = page; !pages_[p].mapped; ++p)
    pages_[p] = {.mapped = true, .prot = kReadWriteProt};
  count("stacks grown");
}

void Owner::load(uint64_t page, uint64_t word) {
  const Content& c = content_of(pages_[page]);
  if (c.state != Content::State::there || c.may_vanish) return load_page(space_, page);
  uint64_t value = 0;
  const Page& p = pages_[page];
  const FaultOutcome outcome = space_.load(at(page, word), writable_bytes_of(value), stop());
  if (!is_resolved(outcome, page, p.prot != Prot::none)) return;
  PageBytes wanted = c.is_served ? served_ : fresh_bytes(p);
  write_words(wanted, c.words);
  if (value != wanted[word]) failed = true;
  ASSERT_EQ(value, wanted[word]) << page << ' ' << word;
}

void Owner::load_page(AddressSpace& space, uint64_t page) {
  const bool in_child = &space != &space_;
  PageBytes bytes;
  const FaultOutcome outcome = space.load(at(page), writable_bytes_of(bytes), stop());
  if (!in_child) note_growth(page);
  if (!is_resolved(outcome, page, pages_[page].prot != Prot::none)) return;
  looked_at(page, bytes, "load", in_child);
}

void Owner::store(uint64_t page, uint64_t word) {
  const uint64_t value = random_();
  const FaultOutcome outcome = space_.store(at(page, word), bytes_of(value), stop());
  note_growth(page);
  if (!is_resolved(outcome, page, pages_[page].prot == kReadWriteProt)) return;
  Content& c = content_of(pages_[page]);
  c.words[word] = value;
  if (c.may_vanish) c.late[word] = value;
  if (c.state == Content::State::there && !c.may_vanish) return;
  load_page(space_, page);
  if (c.state != Content::State::there) return;
  // Stored to, it stays.
  c.may_vanish = false;
  c.late.clear();
}

void Owner::fail_allocations() {
  // For a while: a fault that finds no frame tries hard to get one.
  engine_.frames().fail_after(pick(30));
  for (int i = 0; i < 3; ++i) store(pick(kPart), pick(kWords));
  engine_.frames().fail_never();
}

// --- mappings ---

void Owner::map_anew(Span s) {
  ASSERT_TRUE(space_.map({.address = at(s.first),
                          .length = s.count * kPageSize,
                          .prot = kReadWriteProt,
                          .flags = kAnonFixed}));
  change(s, [](Page& p) { p = {.mapped = true, .prot = kReadWriteProt}; });
}

void Owner::map_file(Kind kind, Span s) {
  if (s.first >= kPart) return;
  const uint64_t index = pick(kPart - s.count);
  const MapFlags type = kind == Kind::copied ? MapFlags::private_ : MapFlags::shared;
  ASSERT_TRUE(space_.map({.address = at(s.first),
                          .length = s.count * kPageSize,
                          .prot = kReadWriteProt,
                          .flags = type | MapFlags::fixed,
                          .file = file(kind).ref,
                          .offset = index * kPageSize}));
  for (uint64_t i = 0; i < s.count; ++i) {
    pages_[s.first + i] = {
        .mapped = true, .prot = kReadWriteProt, .kind = kind, .index = index + i};
  }
}

void Owner::unmap(Span s) {
  ASSERT_TRUE(space_.unmap(at(s.first), s.count * kPageSize));
  change(s, [](Page& p) { p = {}; });
}

// Up to the first hole, as Linux does.
void Owner::protect(Span s, Prot prot) {
  const Result<void> done = space_.protect(at(s.first), s.count * kPageSize, prot);
  for (uint64_t p = s.first; p < s.first + s.count; ++p) {
    if (!pages_[p].mapped) {
      ASSERT_FALSE(done);
      ASSERT_EQ(done.error(), Error::nomem);
      return;
    }
    pages_[p].prot = prot;
  }
  ASSERT_TRUE(done);
}

// Within a zone. Of several pages that may be several mappings, and some of them may have moved
// before one was refused: what a refusal leaves goes.
void Owner::move(Span s) {
  const bool is_one = s.count <= 6;
  if (is_one) s.count = 1;
  const uint64_t base = s.first < kPart ? 0 : kPart + kStack;
  const uint64_t to = s.first < kPart ? pick(kPart)
                      : is_one        ? base + pick(kRegions * kRegion)
                                      : base + pick(kRegions) * kRegion;
  if (to == s.first || !all_of(s, [](const Page& p) { return p.mapped; })) return;
  const Result<Address> moved = space_.remap({.old_address = at(s.first),
                                              .old_length = s.count * kPageSize,
                                              .new_length = s.count * kPageSize,
                                              .flags = RemapFlags::maymove | RemapFlags::fixed,
                                              .new_address = at(to)});
  if (!moved) {
    ASSERT_TRUE(moved.error() == Error::nomem || (!is_one && moved.error() == Error::fault));
    if (!is_one) unmap(s);
    return unmap({to, s.count});
  }
  count(is_one ? "pages moved" : "huge places moved");
  for (uint64_t i = 0; i < s.count; ++i) {
    pages_[to + i] = pages_[s.first + i];
    pages_[to + i].modes = UserFaultModes::none;
    pages_[s.first + i] = {};
  }
  // What a registered mapping joins is registered no more.
  const std::optional<VmaInfo> joined = space_.find_vma(at(to));
  ASSERT_TRUE(joined);
  if (joined->user_faults != UserFaultModes::none) return;
  for (uint64_t p = 0; p < pages_.size(); ++p) {
    if (joined->range.contains(at(p))) pages_[p].modes = UserFaultModes::none;
  }
}

// --- pages ---

void Owner::drop(Span s) {
  (void)space_.advise(at(s.first), s.count * kPageSize, Advice::dontneed);
  change(s, [this](Page& p) {
    if (!is_shared(p)) p.own = forgotten(p);
  });
}

// Refused at the first page that is a file's.
void Owner::give_up(Span s) {
  if (!all_of(s, [](const Page& p) { return p.mapped && p.kind == Kind::anon; })) return;
  ASSERT_TRUE(space_.advise(at(s.first), s.count * kPageSize, Advice::free));
  change(s, [](Page& p) {
    p.own.may_vanish = true;
    p.own.late.clear();
  });
  count("ranges freed");
}

void Owner::page_out(Span s) {
  (void)space_.advise(at(s.first), s.count * kPageSize, Advice::pageout);
}

// The object gets shorter, and often longer again: what was beyond its end is what it says then.
void Owner::truncate(Kind kind) {
  OwnedFile& f = file(kind);
  const uint64_t kept = pick(kPart);
  if (kept < f.pages) {
    f.object->resize(kept * kPageSize);
    engine_.truncate(f.ref);
    for (uint64_t i = kept; i < kPart; ++i) {
      f.contents[i] = {.state =
                           kind == Kind::memory ? Content::State::open : Content::State::absent};
      f.contents[i].may_be_fresh = true;
    }
    for (Page& p : pages_) {
      if (p.kind == kind && p.index >= kept) p.own = {};
    }
    f.pages = kept;
  }
  if (pick(3) != 0) {
    f.pages = kPart;
    f.object->resize(kPart * kPageSize);
  }
}

// What was stored before is the object's afterwards.
void Owner::sync(Span s) {
  if (!space_.sync(at(s.first), s.count * kPageSize, SyncFlags::sync)) return;
  change(s, [this](Page& p) {
    if (!p.mapped || !is_shared(p) || is_beyond_end(p)) return;
    const Content& c = content_of(p);
    if (c.state != Content::State::there || (c.words.empty() && !c.is_served)) return;
    PageBytes wanted = c.is_served ? served_ : fresh_bytes(p);
    write_words(wanted, c.words);
    const std::vector<std::byte> kept = file(p.kind).object->written_page(p.index);
    if (kept.size() != kPageSize || std::memcmp(kept.data(), wanted.data(), kPageSize) != 0) {
      failed = true;
      ADD_FAILURE() << "the object of owner " << self_ << " does not have its page " << p.index;
    }
    count("pages synced");
  });
}

void Owner::insert(Span s) {
  std::vector<PageBuffer> buffers(s.count);
  for (PageBuffer& buffer : buffers) {
    Result<PageBuffer> had = engine_.alloc_page();
    if (!had) return;
    buffer = std::move(*had);
    std::ranges::fill(buffer.bytes(), std::byte{0});
  }
  const uint64_t word = pick(kWords);
  const uint64_t value = random_();
  for (PageBuffer& b : buffers) std::memcpy(&b.bytes()[word * sizeof value], &value, sizeof value);
  // In one mapping of private memory, which the test does not know the ends of.
  if (!space_.insert_pages(at(s.first), buffers)) return;
  change(s, [&](Page& p) {
    ASSERT_TRUE(p.mapped && p.kind == Kind::anon);
    p.own = {.state = Content::State::there, .words = {{word, value}}};
  });
  count("insertions");
}

void Owner::lock_one(uint64_t page) {
  (void)space_.lock(at(page), kPageSize);
  (void)space_.unlock(at(page), kPageSize);
  if (!pages_[page].mapped) return;
  // That may have brought it, and may not.
  Content& c = content_of(pages_[page]);
  if (c.state != Content::State::there) c.may_be_fresh = true;
  load_page(space_, page);
}

// A child has this part as it is now, for nobody else changes it; and what it writes stays its.
void Owner::fork() {
  const Result<std::unique_ptr<AddressSpace>> child = engine_.fork(space_, {});
  if (!child) return;
  count("forks");
  std::vector<uint64_t> looks;
  for (uint64_t p = 0; p < kPart + kStack && p < pages_.size(); ++p) looks.push_back(p);
  for (int i = 0; i < 40 && mixture_ == Mixture::huge; ++i) {
    looks.push_back(kPart + kStack + pick(kRegions * kRegion));
  }
  std::erase_if(looks, [this](uint64_t p) { return is_in_stack(p) && !pages_[p].mapped; });
  for (const uint64_t p : looks) load_page(**child, p);
  for (const uint64_t p : looks) {
    const uint64_t value = random_();
    if (p % 3 == 0 && !is_shared(pages_[p])) (void)(*child)->store(at(p, 1), bytes_of(value));
  }
  if (mixture_ == Mixture::huge && pick(4) == 0) {
    (void)(*child)->advise(at(kPart + kStack), kRegions * kHugePageSize, Advice::collapse);
  }
  for (const uint64_t p : looks) {
    if (p % 3 == 0) load_page(space_, p);
  }
  const std::string wrong = (*child)->check();
  if (!wrong.empty()) failed = true;
  ASSERT_EQ(wrong, "");
}

// --- huge pages ---

// A word in every page, or in every second.
void Owner::fill_region(uint64_t region) {
  const uint64_t base = kPart + kStack + region * kRegion;
  if (pick(2) == 0 || !all_of({base, kRegion}, [](const Page& p) { return p.mapped; })) {
    map_anew({base, kRegion});
  }
  const uint64_t gap = 1 + pick(2);
  for (uint64_t p = base; p < base + kRegion && !failed; p += gap) store(p, pick(kWords));
  count("huge places filled");
  if (pick(2) == 0) collapse(region);
}

void Owner::collapse(uint64_t region) {
  const uint64_t base = kPart + kStack + region * kRegion;
  const Result<void> done = space_.advise(at(base), kHugePageSize, Advice::collapse);
  if (done) return count("huge pages made");
  count("huge pages not made");
  const Error e = done.error();
  // A hole, a mark or an unreadable page; pages under way; no block of frames.
  ASSERT_TRUE(e == Error::inval || e == Error::again || e == Error::nomem) << error_name(e);
}

}  // namespace pervma::test

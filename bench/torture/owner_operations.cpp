// What an owner does with its lot. A new operation of AddressSpace is a function and a line in
// operations().
#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "bench/torture/owner.h"
#include "bench/torture/visitor.h"

namespace pervma::torture {

namespace {

constexpr VmaFlags kSeenByAdvice = VmaFlag::sequential | VmaFlag::random;

VmaFlags flags_of(Prot prot) noexcept {
  VmaFlags f;
  if (any(prot & Prot::read)) f |= VmaFlag::read;
  if (any(prot & Prot::write)) f |= VmaFlag::write;
  return f;
}
constexpr VmaFlags kRights = VmaFlag::read | VmaFlag::write;

Prot some_prot(Random& random) noexcept {
  const uint64_t pick = random.below(8);
  return pick == 0 ? Prot::none : pick == 1 ? Prot::read : Prot::read | Prot::write;
}

}  // namespace

const std::vector<Owner::Operation>& Owner::operations() {
  static const std::vector<Operation> all{{"mmap", 16, &Owner::map},
                                          {"mmap noreplace", 3, &Owner::map_noreplace},
                                          {"munmap", 6, &Owner::unmap},
                                          {"mprotect", 14, &Owner::protect},
                                          {"madvise flags", 6, &Owner::advise_flags},
                                          {"madvise private", 4, &Owner::advise_private},
                                          {"guards", 2, &Owner::guards},
                                          {"mremap duplicate", 2, &Owner::duplicate},
                                          {"madvise dontneed", 6, &Owner::drop},
                                          {"madvise free", 3, &Owner::free_lazily},
                                          {"mlock", 3, &Owner::lock},
                                          {"munlock", 4, &Owner::unlock},
                                          {"name", 2, &Owner::name},
                                          {"mremap move", 6, &Owner::move},
                                          {"mremap dontunmap", 2, &Owner::move_and_leave},
                                          {"mremap resize", 4, &Owner::resize},
                                          {"user faults: register", 4, &Owner::tell},
                                          {"user faults: unregister", 3, &Owner::tell_no_more},
                                          {"user faults: close", 3, &Owner::close_to_stores},
                                          {"user faults: move", 4, &Owner::move_page},
                                          {"load", 30, &Owner::load},
                                          {"store", 40, &Owner::store},
                                          {"insert page", 8, &Owner::insert},
                                          {"brk", 3, &Owner::heap},
                                          {"stack", 3, &Owner::stack},
                                          {"mmap anywhere", 3, &Owner::map_anywhere},
                                          {"huge page", 1, &Owner::huge_page},
                                          {"fork", 1, &Owner::fork},
                                          {"other space", 1, &Owner::other_space}};
  return all;
}

bool Owner::is_private_anonymous(Span span) const noexcept {
  const auto begin = pages_.begin() + static_cast<std::ptrdiff_t>(span.first);
  return std::all_of(begin, begin + static_cast<std::ptrdiff_t>(span.count),
                     [](const Page& p) { return p.is_private_anonymous(); });
}

Page Owner::fresh_page(Page::Kind kind, Prot prot, uint64_t file_page) const {
  Page p;
  p.mapped = true;
  p.kind = kind;
  p.flags = flags_of(prot);
  p.file_page = kind == Page::Kind::file ? file_page : 0;
  return p;
}

void Owner::map() {
  const Span span = any_span();
  const Prot prot = some_prot(random_);
  const uint64_t pick = random_.below(8);
  const auto kind = pick == 0   ? Page::Kind::shared
                    : pick == 1 ? Page::Kind::file
                                : Page::Kind::anonymous;
  // Now and then as if the whole lot were one mapping, so that neighbours merge.
  const uint64_t file_page = random_.one_in(2) ? span.first : random_.below(1000);
  MapFlags flags = MapFlags::fixed;
  flags = flags | (kind == Page::Kind::shared ? MapFlags::shared : MapFlags::private_);
  if (kind != Page::Kind::file) flags = flags | MapFlags::anonymous;
  if (random_.one_in(4)) flags = flags | MapFlags::populate;
  change({.what = "mmap",
          .span = span,
          .after = [=, this](
                       Page,
                       uint64_t i) { return fresh_page(kind, prot, file_page + i - span.first); },
          .run = [=, this](const std::stop_token& stop) -> Result<void> {
            const Result<Address> done =
                space_.map({.address = at(span.first),
                            .length = span.count * kPageSize,
                            .prot = prot,
                            .flags = flags,
                            .file = kind == Page::Kind::file ? file_ : FileRef(),
                            .offset = kind == Page::Kind::file ? file_page << kPageShift : 0},
                           stop);
            if (!done) return std::unexpected(done.error());
            return {};
          },
          .replaces = [](uint64_t) { return true; }});
}

void Owner::map_noreplace() {
  const Span span = any_span();
  const auto begin = pages_.begin() + static_cast<std::ptrdiff_t>(span.first);
  const bool taken = std::any_of(begin, begin + static_cast<std::ptrdiff_t>(span.count),
                                 [](const Page& p) { return p.mapped; });
  change({.what = taken ? "mmap noreplace over" : "mmap noreplace",
          .span = span,
          .after =
              [=, this](Page p, uint64_t) {
                return taken ? p : fresh_page(Page::Kind::anonymous, Prot::read | Prot::write, 0);
              },
          .run = [=, this](const std::stop_token& stop) -> Result<void> {
            const Result<Address> done = space_.map(
                {.address = at(span.first),
                 .length = span.count * kPageSize,
                 .prot = Prot::read | Prot::write,
                 .flags = MapFlags::private_ | MapFlags::anonymous | MapFlags::fixed_noreplace},
                stop);
            if (done && taken) violated("mmap with fixed_noreplace went over a mapping");
            if (!done) return std::unexpected(done.error());
            return {};
          },
          .may_fail = [=](Error e) { return taken && e == Error::exist; }});
}

void Owner::unmap() {
  const Span span = any_span();
  change({.what = "munmap",
          .span = span,
          .after = [](Page, uint64_t) { return Page(); },
          .run =
              [=, this](const std::stop_token& stop) {
                return space_.unmap(at(span.first), span.count * kPageSize, stop);
              }});
}

void Owner::protect() {
  const Span span = mapped_span();
  if (span.count == 0) return;
  const Prot prot = some_prot(random_);
  change({.what = "mprotect",
          .span = span,
          .after =
              [=](Page p, uint64_t) {
                p.flags = (p.flags & ~kRights) | flags_of(prot);
                return p;
              },
          .run =
              [=, this](const std::stop_token& stop) {
                return space_.protect(at(span.first), span.count * kPageSize, prot, stop);
              },
          .on_stop = Change::OnStop::part_done});
}

void Owner::advise_flags() {
  struct Kind {
    Advice advice;
    VmaFlags clears;
    VmaFlags sets;
  };
  static constexpr Kind kKinds[] = {{Advice::normal, kSeenByAdvice, {}},
                                    {Advice::sequential, kSeenByAdvice, VmaFlag::sequential},
                                    {Advice::random, kSeenByAdvice, VmaFlag::random},
                                    {Advice::dontfork, VmaFlag::dont_copy, VmaFlag::dont_copy},
                                    {Advice::dofork, VmaFlag::dont_copy, {}},
                                    {Advice::dontdump, VmaFlag::dont_dump, VmaFlag::dont_dump},
                                    {Advice::dodump, VmaFlag::dont_dump, {}},
                                    {Advice::hugepage, {}, {}},
                                    {Advice::nohugepage, {}, {}}};
  const Span span = mapped_span();
  if (span.count == 0) return;
  const Kind kind = kKinds[random_.below(std::size(kKinds))];
  change({.what = "madvise flags",
          .span = span,
          .after =
              [=](Page p, uint64_t) {
                p.flags = (p.flags & ~kind.clears) | kind.sets;
                return p;
              },
          .run =
              [=, this](const std::stop_token& stop) {
                return space_.advise(at(span.first), span.count * kPageSize, kind.advice, stop);
              },
          .on_stop = Change::OnStop::part_done});
}

// Of private anonymous memory only.
void Owner::advise_private() {
  struct Kind {
    Advice advice;
    VmaFlags clears;
    VmaFlags sets;
  };
  static constexpr Kind kKinds[] = {{Advice::wipeonfork, {}, VmaFlag::wipe_on_fork},
                                    {Advice::keeponfork, VmaFlag::wipe_on_fork, {}},
                                    {Advice::mergeable, {}, VmaFlag::mergeable},
                                    {Advice::unmergeable, VmaFlag::mergeable, {}}};
  const Span span = mapped_span();
  if (span.count == 0 || !is_private_anonymous(span)) return;
  const Kind kind = kKinds[random_.below(std::size(kKinds))];
  change({.what = "madvise private",
          .span = span,
          .after =
              [=](Page p, uint64_t) {
                p.flags = (p.flags & ~kind.clears) | kind.sets;
                return p;
              },
          .run =
              [=, this](const std::stop_token& stop) {
                return space_.advise(at(span.first), span.count * kPageSize, kind.advice, stop);
              },
          .on_stop = Change::OnStop::part_done});
}

void Owner::drop() {
  const Span span = mapped_span();
  if (span.count == 0) return;
  const auto begin = pages_.begin() + static_cast<std::ptrdiff_t>(span.first);
  const bool locked = std::any_of(begin, begin + static_cast<std::ptrdiff_t>(span.count),
                                  [](const Page& p) { return p.flags.has(VmaFlag::locked); });
  const Advice kind = locked ? Advice::dontneed_locked : Advice::dontneed;
  change({.what = "madvise dontneed",
          .span = span,
          .after =
              [](Page p, uint64_t) {
                if (p.kind != Page::Kind::shared) p.forget_words();
                return p;
              },
          .run =
              [=, this](const std::stop_token& stop) {
                return space_.advise(at(span.first), span.count * kPageSize, kind, stop);
              },
          .on_stop = Change::OnStop::part_done});
}

void Owner::free_lazily() {
  const Span span = mapped_span();
  const auto begin = pages_.begin() + static_cast<std::ptrdiff_t>(span.first);
  const bool fit = std::all_of(
      begin, begin + static_cast<std::ptrdiff_t>(span.count),
      [](const Page& p) { return p.is_private_anonymous() && !p.flags.has(VmaFlag::locked); });
  if (span.count == 0 || !fit) return;
  change({.what = "madvise free",
          .span = span,
          .after =
              [](Page p, uint64_t) {
                p.may_be_fresh = true;
                return p;
              },
          .run =
              [=, this](const std::stop_token& stop) {
                return space_.advise(at(span.first), span.count * kPageSize, Advice::free, stop);
              },
          .on_stop = Change::OnStop::part_done});
}

void Owner::lock() {
  const Span span = mapped_span();
  if (span.count == 0) return;
  const LockFlags flags = random_.one_in(2) ? LockFlags::onfault : LockFlags::none;
  change({.what = "mlock",
          .span = span,
          .after =
              [](Page p, uint64_t) {
                p.flags |= VmaFlag::locked;
                return p;
              },
          .run =
              [=, this](const std::stop_token& stop) {
                return space_.lock(at(span.first), span.count * kPageSize, flags, stop);
              },
          // Locked all the same: a page without rights could not be brought in.
          .may_fail = [](Error e) { return e == Error::nomem; },
          .on_stop = Change::OnStop::part_done});
}

void Owner::unlock() {
  const Span span = mapped_span();
  if (span.count == 0) return;
  change({.what = "munlock",
          .span = span,
          .after =
              [](Page p, uint64_t) {
                p.flags &= ~VmaFlags(VmaFlag::locked);
                return p;
              },
          .run =
              [=, this](const std::stop_token& stop) {
                return space_.unlock(at(span.first), span.count * kPageSize, stop);
              },
          .on_stop = Change::OnStop::part_done});
}

void Owner::name() {
  const Span span = mapped_span();
  if (span.count == 0 || !is_private_anonymous(span)) return;
  const uint64_t name = random_.below(3);
  const std::string text = name == 0 ? std::string() : fmt::format("name {}", name);
  change({.what = "name",
          .span = span,
          .after =
              [=](Page p, uint64_t) {
                p.name = name;
                return p;
              },
          .run =
              [=, this](const std::stop_token& stop) {
                return space_.set_name(at(span.first), span.count * kPageSize, text, stop);
              },
          .on_stop = Change::OnStop::part_done});
}

void Owner::load() {
  load_word(space_, random_.below(kPages), static_cast<unsigned>(random_.below(8)), "load");
}

void Owner::load_word(AddressSpace& space, uint64_t page, unsigned i, const char* what) {
  const Page& p = pages_[page];
  const Address where = at(page) + uint64_t{Page::kWords[i]} * 8;
  me_.events.begin(what, where, 1);
  uint64_t value = 0;
  const FaultOutcome outcome = space.load(where, std::as_writable_bytes(std::span(&value, 1)));
  me_.events.end(outcome == FaultOutcome::resolved ? "resolved" : "refused");
  if (outcome == FaultOutcome::out_of_memory) return;
  if (outcome != p.state().outcome(Access::read)) {
    violated(fmt::format("{}: a load at {:#x} ended as {}, the page is {:#x}", what, where.value,
                         static_cast<int>(outcome), p.state().bits()));
    return;
  }
  if (outcome != FaultOutcome::resolved) return;
  const bool stored = (p.stored >> i & 1) != 0;
  const uint64_t expected = stored ? p.words[i] : p.first_word(i);
  if (value == expected || (p.may_be_fresh && value == p.first_word(i))) return;
  violated(fmt::format("{}: a load at {:#x} saw {:#x}, {} was {:#x}", what, where.value, value,
                       stored ? "stored last" : "there at first", expected));
}

void Owner::store() {
  const uint64_t page = random_.below(kPages);
  const auto i = static_cast<unsigned>(random_.below(8));
  Page& p = pages_[page];
  const Address where = at(page) + uint64_t{Page::kWords[i]} * 8;
  const uint64_t value = uint64_t{self_ + 1} << kTagShift | ++values_;
  me_.events.begin("store", where, 1);
  const FaultOutcome outcome = space_.store(where, std::as_bytes(std::span(&value, 1)));
  me_.events.end(outcome == FaultOutcome::resolved ? "resolved" : "refused");
  if (outcome == FaultOutcome::out_of_memory) return;
  if (outcome != p.state().outcome(Access::write)) {
    violated(fmt::format("a store at {:#x} ended as {}, the page is {:#x}", where.value,
                         static_cast<int>(outcome), p.state().bits()));
    return;
  }
  if (outcome != FaultOutcome::resolved) return;
  // By dice: on a slow machine an owner's life is a few stores long.
  if (broken_ == Broken::data && random_.one_in(8)) return;
  p.words[i] = value;
  p.stored = static_cast<uint8_t>(p.stored | 1u << i);
}

// A page of the engine's in place of what is there. One is always in one VMA.
void Owner::insert() {
  const uint64_t page = random_.below(kPages);
  Result<PageBuffer> buffer = engine_.alloc_page();
  if (!buffer) return;
  const auto i = static_cast<unsigned>(random_.below(8));
  const uint64_t value = uint64_t{self_ + 1} << kTagShift | ++values_;
  std::ranges::fill(buffer->bytes(), std::byte{0});
  std::ranges::copy(std::as_bytes(std::span(&value, 1)),
                    buffer->bytes().subspan(Page::kWords[i] * sizeof value).begin());
  Page& p = pages_[page];
  me_.events.begin("insert page", at(page), 1);
  const Result<void> done = space_.insert_pages(at(page), std::span(&*buffer, 1));
  me_.events.end(done ? "done" : "refused");
  me_.count(done ? "insert page: done" : "insert page: refused");
  if (!done && done.error() == Error::nomem) return;
  if (done.has_value() != p.is_private_anonymous()) {
    violated(fmt::format("a page was {} at {:#x}, which is {:#x}", done ? "inserted" : "refused",
                         at(page).value, p.state().bits()));
    return;
  }
  if (!done) return;
  // The words that are not stored are zero, as in a page that was mapped anew.
  p.forget_words();
  p.words[i] = value;
  p.stored = static_cast<uint8_t>(1u << i);
}

}  // namespace pervma::torture

// What an owner does by mremap, elsewhere in its space, and in other spaces of the same engine:
// there VMAs are recycled that others may still be looking at.
#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "bench/torture/owner.h"

namespace pervma::torture {

namespace {

constexpr Prot kReadWrite = Prot::read | Prot::write;
constexpr MapFlags kAnonymous = MapFlags::private_ | MapFlags::anonymous;

template <class T>
Result<void> without_value(const Result<T>& r) {
  if (!r) return std::unexpected(r.error());
  return {};
}

}  // namespace

// One page to another place in the lot, over whatever is there.
void Owner::move() {
  const uint64_t from = random_.below(kPages);
  const uint64_t to = random_.below(kPages);
  if (from == to || !pages_[from].mapped) return;
  const Page moved = pages_[from];
  change(
      {.what = "mremap move",
       .span = {std::min(from, to), std::max(from, to) - std::min(from, to) + 1},
       .after = [=](const Page& p, uint64_t i) { return i == to     ? moved
                                                        : i == from ? Page()
                                                                    : p; },
       .run =
           [=, this](const std::stop_token& stop) {
             return without_value(space_.remap({.old_address = at(from),
                                                .old_length = kPageSize,
                                                .new_length = kPageSize,
                                                .flags = RemapFlags::maymove | RemapFlags::fixed,
                                                .new_address = at(to)},
                                               stop));
           },
       .replaces = [=](uint64_t i) { return i == to || i == from; }});
}

// The same, and the source stays mapped without its pages.
void Owner::move_and_leave() {
  const uint64_t from = random_.below(kPages);
  const uint64_t to = random_.below(kPages);
  if (from == to || !pages_[from].is_private_anonymous() ||
      pages_[from].flags.has(VmaFlag::locked)) {
    return;
  }
  const Page moved = pages_[from];
  change({.what = "mremap dontunmap",
          .span = {std::min(from, to), std::max(from, to) - std::min(from, to) + 1},
          .after =
              [=](Page p, uint64_t i) {
                if (i == to) return moved;
                if (i == from) p.forget_words();
                return p;
              },
          .run =
              [=, this](const std::stop_token& stop) {
                return without_value(space_.remap(
                    {.old_address = at(from),
                     .old_length = kPageSize,
                     .new_length = kPageSize,
                     .flags = RemapFlags::maymove | RemapFlags::fixed | RemapFlags::dontunmap,
                     .new_address = at(to)},
                    stop));
              },
          .replaces = [=](uint64_t i) { return i == to; }});
}

// In place: one page to two where there is room, or two to one.
void Owner::resize() {
  const uint64_t first = random_.below(kPages - 1);
  const Page& page = pages_[first];
  if (!page.mapped || page.kind == Page::Kind::shared) return;
  const bool grows = !pages_[first + 1].mapped;
  Page second;
  if (grows) {
    second = page;
    second.forget_words();
    if (page.kind == Page::Kind::file) ++second.file_page;
  }
  change({.what = grows ? "mremap grow" : "mremap shrink",
          .span = {first + 1, 1},
          .after = [=](const Page&, uint64_t) { return second; },
          .run =
              [=, this](const std::stop_token& stop) {
                return without_value(space_.remap({.old_address = at(first),
                                                   .old_length = (grows ? 1 : 2) * kPageSize,
                                                   .new_length = (grows ? 2 : 1) * kPageSize},
                                                  stop));
              }});
}

bool Owner::store_and_load(AddressSpace& space, Address where, uint64_t value) {
  if (space.store(where, std::as_bytes(std::span(&value, 1))) != FaultOutcome::resolved) {
    return false;
  }
  uint64_t back = 0;
  return space.load(where, std::as_writable_bytes(std::span(&back, 1))) == FaultOutcome::resolved &&
         back == value;
}

// The heap is the first thread's.
void Owner::heap() {
  if (self_ != 0) return;
  const Address wanted = kHeap + random_.below(64) * kPageSize;
  me_.events.begin("brk", wanted, 0);
  const std::stop_token stop = some_stop();
  const Address got = space_.brk(wanted, stop);
  me_.events.end(got == wanted ? "moved" : "refused");
  me_.count(got == wanted ? "brk: moved" : "brk: refused");
  if (got != wanted && (got != heap_end_ || !stop.stop_possible())) {
    violated(fmt::format("brk({:#x}) answered {:#x}, the heap ended at {:#x}", wanted.value,
                         got.value, heap_end_.value));
  }
  heap_end_ = got;
  if (heap_end_ > kHeap && !store_and_load(space_, heap_end_ - 8, ++values_)) {
    violated(fmt::format("the heap's last page at {:#x} does not hold a word", heap_end_.value));
  }
}

// A mapping that grows down to where it is touched.
void Owner::stack() {
  const Address top = kStacks + (uint64_t{self_} << 30) + (uint64_t{1} << 29);
  me_.events.begin("stack", stack_, 0);
  if (stack_ == Address{}) {
    stack_ = top - 4 * kPageSize;
    if (!space_.map({.address = stack_,
                     .length = 4 * kPageSize,
                     .prot = kReadWrite,
                     .flags = kAnonymous | MapFlags::fixed | MapFlags::growsdown})) {
      violated("a stack could not be mapped");
    }
  } else if (top - stack_ > 600 * kPageSize) {
    if (!space_.unmap(stack_, top - stack_)) violated("a stack could not be unmapped");
    stack_ = Address{};
    me_.count("stack: unmapped");
    me_.events.end("unmapped");
    return;
  }
  const Address lower = stack_ - (1 + random_.below(32)) * kPageSize;
  const FaultOutcome outcome = space_.handle_fault(lower, Access::write);
  const std::optional<VmaInfo> vma = space_.find_vma(lower);
  me_.events.end("touched");
  me_.count("stack: grown");
  if (outcome != FaultOutcome::resolved || !vma || vma->range.start != lower) {
    violated(fmt::format("a stack at {:#x} did not grow to {:#x}", stack_.value, lower.value));
  }
  stack_ = lower;
}

void Owner::map_anywhere() {
  const uint64_t length = (1 + random_.below(600)) * kPageSize;
  me_.events.begin("mmap anywhere", {}, length >> kPageShift);
  const Result<Address> place =
      space_.map({.length = length, .prot = kReadWrite, .flags = kAnonymous});
  if (!place) {
    violated(fmt::format("mmap without an address failed: {}", error_name(place.error())));
    return;
  }
  // Nobody else knows the place: what it holds is fresh, and stays what is stored.
  uint64_t value = 1;
  const Address last = *place + length - 8;
  const FaultOutcome outcome = space_.load(last, std::as_writable_bytes(std::span(&value, 1)));
  bool good = outcome == FaultOutcome::resolved && value == 0;
  ++values_;
  good = good && store_and_load(space_, *place, values_);
  ++values_;
  good = good && store_and_load(space_, last, values_);
  if (!good) violated(fmt::format("fresh memory at {:#x} is not fresh", place->value));
  if (!space_.unmap(*place, length)) violated("munmap of a whole mapping failed");
  me_.count("mmap anywhere");
  me_.events.end("done");
}

// 2 MiB become one page, and small ones again where a part of it is changed; no word is lost.
void Owner::huge_page() {
  constexpr uint64_t kParts = 512;
  const Address start = kHugePlaces + (uint64_t{self_} << 30);
  const auto place = [&](uint64_t p) { return start + p * kPageSize; };
  me_.events.begin("huge page", start, kParts);
  if (!space_.map({.address = start,
                   .length = kParts * kPageSize,
                   .prot = kReadWrite,
                   .flags = kAnonymous | MapFlags::fixed})) {
    violated("memory for a huge page could not be mapped");
    return;
  }
  std::vector<uint64_t> words(kParts, 0);
  const uint64_t step = 1 + random_.below(8);
  for (uint64_t p = 0; p < kParts; p += step) {
    words[p] = ++values_;
    if (!store_and_load(space_, place(p), words[p])) violated("a page lost its word");
  }
  const Result<void> made = space_.advise(start, kParts * kPageSize, Advice::collapse, some_stop());
  me_.count(fmt::format("huge page: {}", made ? "made" : error_name(made.error())));
  // Again: reclaim looks at one of the pages. No memory: no 512 frames in a row.
  const bool may_be = made || made.error() == Error::intr || made.error() == Error::again ||
                      made.error() == Error::nomem;
  if (!may_be) {
    violated(fmt::format("collapse at {:#x}: {}", start.value, error_name(made.error())));
  }
  cut_huge_page(words);
  for (uint64_t p = 0; p < kParts; ++p) {
    uint64_t value = 0;
    if (space_.load(place(p), std::as_writable_bytes(std::span(&value, 1))) !=
            FaultOutcome::resolved ||
        value != words[p]) {
      violated(fmt::format("a page at {:#x} of what was huge has lost its word", place(p).value));
      break;
    }
  }
  if (!space_.unmap(start, kParts * kPageSize)) violated("a huge page could not be unmapped");
  me_.events.end("done");
}

// One change of a part, after which every page can be read.
void Owner::cut_huge_page(std::vector<uint64_t>& words) {
  const uint64_t first = random_.below(words.size());
  const uint64_t count = 1 + random_.below(words.size() - first);
  const Address at = kHugePlaces + (uint64_t{self_} << 30) + first * kPageSize;
  const auto forget = [&] {
    std::fill_n(words.begin() + static_cast<std::ptrdiff_t>(first), count, 0);
  };
  switch (random_.below(5)) {
    case 0:
      if (!space_.advise(at, count * kPageSize, Advice::dontneed)) violated("dontneed failed");
      forget();
      break;
    case 1:
      if (!space_.protect(at, count * kPageSize, Prot::read)) violated("protect failed");
      break;
    case 2:
      if (!space_.map({.address = at,
                       .length = count * kPageSize,
                       .prot = kReadWrite,
                       .flags = kAnonymous | MapFlags::fixed})) {
        violated("mmap over a part of a huge page failed");
      }
      forget();
      break;
    case 3:
      if (const auto child = engine_.fork(space_)) {
        if (!store_and_load(**child, at, ++values_)) violated("a child cannot write");
        if (const std::string wrong = (*child)->check(); !wrong.empty()) {
          violated("check() of a child with huge pages: " + wrong);
        }
      }
      break;
    default: break;
  }
}

void Owner::fork() {
  me_.events.begin("fork", base_, kPages);
  Result<std::unique_ptr<AddressSpace>> child = engine_.fork(space_, some_stop());
  me_.count(fmt::format("fork: {}", child ? "done" : error_name(child.error())));
  me_.events.end(child ? "done" : error_name(child.error()).data());
  if (child) {
    check_child(**child);
    child->reset();
  } else if (child.error() == Error::intr) {
    me_.count("kills");
  } else {
    violated(fmt::format("fork failed: {}", error_name(child.error())));
  }
}

// This thread's lot is in the child as it was: nobody else changes it.
void Owner::check_child(AddressSpace& child) {
  for (uint64_t page = 0; page < kPages && !monitor_.is_over(); ++page) {
    const Page& p = pages_[page];
    const bool copied = p.mapped && !p.flags.has(VmaFlag::dont_copy);
    if (copied) {
      const Page was = p;
      // Wiped, the child's page is fresh; here it stays what it is.
      if (p.flags.has(VmaFlag::wipe_on_fork)) pages_[page].forget_words();
      load_word(child, page, static_cast<unsigned>(random_.below(8)), "load in the child");
      pages_[page] = was;
      // Seen in the parent afterwards, it would be no word that was stored there.
      if (p.kind == Page::Kind::anonymous && p.flags.has(VmaFlag::write) && random_.one_in(2)) {
        (void)store_and_load(child, at(page), ++values_);
      }
    } else if (child.handle_fault(at(page), Access::read) != FaultOutcome::map_error) {
      violated(fmt::format("the child has a page at {:#x}", at(page).value));
    }
  }
  if (const std::string wrong = child.check(); !wrong.empty()) {
    violated("check() of the child: " + wrong);
  }
}

void Owner::other_space() {
  me_.events.begin("other space", base_, kPages);
  Result<std::unique_ptr<AddressSpace>> other = engine_.create_space({.design = space_.design()});
  if (!other) {
    violated("a second space could not be made");
    return;
  }
  // At the same addresses as this thread's lot, so that a stale VMA would seem to fit.
  for (uint64_t page = 0; page < kPages; page += 2) {
    const Result<Address> mapped =
        (*other)->map({.address = at(page),
                       .length = kPageSize,
                       .prot = random_.one_in(2) ? Prot::read : kReadWrite,
                       .flags = kAnonymous | MapFlags::fixed});
    if (!mapped) violated("mmap in a second space failed");
    (void)(*other)->handle_fault(at(page), Access::read);
  }
  seal_some(**other);
  const uint64_t part = random_.below(kPages / 2) * kPageSize;
  if (part != 0 && !(*other)->unmap(base_, part)) violated("munmap in a second space failed");
  if (const std::string wrong = (*other)->check(); !wrong.empty()) {
    violated("check() of a second space: " + wrong);
  }
  other->reset();
  me_.count("other space");
  me_.events.end("destroyed");
}

}  // namespace pervma::torture

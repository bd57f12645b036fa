#include "bench/torture/visitor.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <thread>

#include "sync/cpu.h"

namespace pervma::torture {

namespace {

const char* outcome_name(FaultOutcome o) noexcept {
  switch (o) {
    case FaultOutcome::resolved: return "resolved";
    case FaultOutcome::map_error: return "map_error";
    case FaultOutcome::access_error: return "access_error";
    case FaultOutcome::bus_error: return "bus_error";
    case FaultOutcome::out_of_memory: return "out_of_memory";
    case FaultOutcome::interrupted: return "interrupted";
  }
  return "?";
}

// All that a VMA read lock keeps. The identity of the anonymous pages may come meanwhile.
bool same_vma(const VmaInfo& a, const VmaInfo& b) {
  return a.range == b.range && a.flags == b.flags && a.page_offset == b.page_offset &&
         a.has_file == b.has_file && a.inode == b.inode && a.name == b.name &&
         (a.anon_vma == 0 || a.anon_vma == b.anon_vma);
}

std::string text_of(const VmaInfo& v) {
  return fmt::format("[{:#x}, {:#x}) flags {:#x} offset {} anon_vma {}", v.range.start.value,
                     v.range.end.value, v.flags.bits(), v.page_offset, v.anon_vma);
}

}  // namespace

void Visitor::step() {
  struct Visit {
    unsigned weight;
    void (Visitor::*run)();
  };
  // Later parts add theirs.
  static constexpr Visit kVisits[] = {{40, &Visitor::hold},  {10, &Visitor::find},
                                      {20, &Visitor::fault}, {12, &Visitor::load},
                                      {12, &Visitor::store}, {1, &Visitor::list},
                                      {4, &Visitor::advise}, {2, &Visitor::look_through}};
  uint64_t sum = 0;
  for (const Visit& v : kVisits) sum += v.weight;
  uint64_t pick = random_.below(sum);
  for (const Visit& v : kVisits) {
    if (pick < v.weight) {
      (this->*v.run)();
      return;
    }
    pick -= v.weight;
  }
}

void Visitor::dawdle() {
  const uint64_t kind = random_.below(16);
  if (kind == 0) std::this_thread::yield();
  if (kind == 1) std::this_thread::sleep_for(std::chrono::microseconds(random_.below(200)));
  for (uint64_t i = random_.below(100); i > 0; --i) cpu_relax();
}

void Visitor::violated(uint64_t page, const std::string& what) {
  monitor_.violated(self_, Arena::owner_of(page), what);
}

void Visitor::hold() {
  const uint64_t page = any_page();
  me_.events.begin("hold", Arena::at(page), 1);
  const bool holds = broken_ != Broken::read_lock;
  std::optional<VmaRead> held =
      holds ? space_.try_read_vma(Arena::at(page)) : std::optional<VmaRead>();
  const std::optional<VmaInfo> first = held    ? std::optional(held->info())
                                       : holds ? std::optional<VmaInfo>()
                                               : space_.find_vma(Arena::at(page));
  if (!first) {
    me_.count("hold: refused");
    me_.events.end("refused");
    return;
  }
  if (!first->range.contains(Arena::at(page))) {
    violated(page, fmt::format("a hold at {:#x} got {}", Arena::at(page).value, text_of(*first)));
    return;
  }
  // Any page of the VMA will do, whoever owns it.
  const Range seen = first->range.intersection(arena_.range());
  const uint64_t looked_at = Arena::page_of(seen.start) + random_.below(seen.pages().value);
  const MarkValue begin = arena_.mark(looked_at).read();
  dawdle();
  const std::optional<VmaInfo> last =
      held ? std::optional(held->info()) : space_.find_vma(Arena::at(page));
  const MarkValue end = arena_.mark(looked_at).read();
  check_held(*first, last.value_or(VmaInfo{}), looked_at, begin, end);
  held.reset();
  me_.count("hold: held");
  me_.events.end("held");
}

void Visitor::check_held(const VmaInfo& first, const VmaInfo& last, uint64_t page, MarkValue begin,
                         MarkValue end) {
  if (!same_vma(first, last)) {
    violated(page, fmt::format("a VMA changed while it was held for read: {}, then {}",
                               text_of(first), text_of(last)));
  } else if (!MarkValue::may_be_held(begin, end)) {
    violated(page, fmt::format("the page at {:#x} was changed while its VMA {} was held for read: "
                               "stamp {}, then {}",
                               Arena::at(page).value, text_of(first), begin.stamp(), end.stamp()));
  } else if (MarkValue::stable(begin, end) && begin.state() != PageState::of(first.flags)) {
    violated(page, fmt::format("the page at {:#x} is {:#x} to its owner, and its VMA held for read "
                               "is {}",
                               Arena::at(page).value, begin.state().bits(), text_of(first)));
  }
}

void Visitor::find() {
  const uint64_t page = any_page();
  me_.events.begin("find", Arena::at(page), 1);
  const MarkValue before = arena_.mark(page).read();
  const std::optional<VmaInfo> found = space_.find_vma(Arena::at(page));
  const MarkValue after = arena_.mark(page).read();
  if (MarkValue::stable(before, after)) {
    const PageState seen = found ? PageState::of(found->flags) : PageState();
    if (seen != before.state()) {
      violated(page, fmt::format("find_vma({:#x}) saw {}, to its owner the page is {:#x}",
                                 Arena::at(page).value, found ? text_of(*found) : "nothing",
                                 before.state().bits()));
    }
  }
  me_.count("find");
  me_.events.end(found ? "found" : "nothing");
}

void Visitor::check_outcome(const char* what, uint64_t page, Access access, MarkValue before,
                            FaultOutcome outcome) {
  const MarkValue after = arena_.mark(page).read();
  me_.count(fmt::format("{}: {}", what, outcome_name(outcome)));
  me_.events.end(outcome_name(outcome));
  if (outcome == FaultOutcome::out_of_memory || outcome == FaultOutcome::interrupted) return;
  if (MarkValue::stable(before, after) && before.state().outcome(access) != outcome) {
    violated(page,
             fmt::format("a {} at {:#x} gave {}, to its owner the page is {:#x}", what,
                         Arena::at(page).value, outcome_name(outcome), before.state().bits()));
  }
}

void Visitor::fault() {
  const uint64_t page = any_page();
  const Access access = random_.one_in(2) ? Access::read : Access::write;
  const FaultOrigin origin = random_.one_in(8) ? FaultOrigin::kernel : FaultOrigin::user;
  me_.events.begin("fault", Arena::at(page), 1);
  const MarkValue before = arena_.mark(page).read();
  const std::stop_token stop = random_.one_in(8) ? me_.fresh_stop() : std::stop_token();
  check_outcome("fault", page, access, before,
                space_.handle_fault(Arena::at(page), access, origin, stop));
}

void Visitor::load() {
  const uint64_t page = any_page();
  me_.events.begin("visitor's load", Arena::at(page), 1);
  uint64_t value = 0;
  const MarkValue before = arena_.mark(page).read();
  const FaultOutcome outcome = space_.load(word_at(page, random_.below(kVisitorsWord)),
                                           std::as_writable_bytes(std::span(&value, 1)));
  check_outcome("load", page, Access::read, before, outcome);
  const uint64_t tag = value >> kTagShift;
  if (outcome == FaultOutcome::resolved && tag != 0 && tag != Arena::owner_of(page) + 1) {
    violated(page, fmt::format("a load at {:#x} saw {:#x}, a word of thread {}",
                               Arena::at(page).value, value, tag - 1));
  }
}

void Visitor::store() {
  const uint64_t page = any_page();
  me_.events.begin("visitor's store", Arena::at(page), 1);
  const uint64_t value = self_;
  const MarkValue before = arena_.mark(page).read();
  const FaultOutcome outcome =
      space_.store(word_at(page, kVisitorsWord), std::as_bytes(std::span(&value, 1)));
  check_outcome("store", page, Access::write, before, outcome);
}

void Visitor::list() {
  me_.events.begin("list", Arena::kBase, arena_.pages());
  const std::vector<VmaInfo> all = space_.vmas();
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].range.empty() || (i > 0 && all[i - 1].range.end > all[i].range.start)) {
      violated(0, fmt::format("the list of VMAs is not in order: {}", text_of(all[i])));
    }
  }
  me_.count("list");
  me_.events.end("listed");
}

// Advice that changes no data and no flags.
void Visitor::advise() {
  static constexpr Advice kKinds[] = {Advice::willneed, Advice::cold, Advice::pageout,
                                      Advice::populate_read};
  const uint64_t page = any_page();
  const uint64_t count = 1 + random_.below(std::min<uint64_t>(arena_.pages() - page, 8));
  const Advice kind = kKinds[random_.below(std::size(kKinds))];
  me_.events.begin("visitor's advice", Arena::at(page), count);
  const std::stop_token stop = random_.one_in(4) ? me_.fresh_stop() : std::stop_token();
  const Result<void> done = space_.advise(Arena::at(page), count * kPageSize, kind, stop);
  me_.count(fmt::format("advise (harmless): {}", done ? "done" : error_name(done.error())));
  me_.events.end("returned");
}

void Visitor::look_through() {
  const uint64_t page = any_page();
  const uint64_t count = 1 + random_.below(std::min<uint64_t>(arena_.pages() - page, 16));
  me_.events.begin("mincore, msync", Arena::at(page), count);
  std::array<uint8_t, 16> there{};
  const Result<void> seen =
      space_.residency(Arena::at(page), count * kPageSize, std::span(there.data(), count));
  const Result<void> synced = space_.sync(Arena::at(page), count * kPageSize, SyncFlags::async);
  me_.count(fmt::format("mincore: {}", seen ? "done" : error_name(seen.error())));
  me_.count(fmt::format("msync: {}", synced ? "done" : error_name(synced.error())));
  me_.events.end("returned");
}

}  // namespace pervma::torture

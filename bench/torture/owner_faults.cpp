// What an owner does as one who serves faults himself. Its handler brings whatever is missing, as
// it would have come without it, so that no word changes because somebody was told.
#include <fmt/format.h>

#include <algorithm>

#include "bench/torture/owner.h"

namespace pervma::torture {

UserFaultAnswer Owner::Server::fault(const UserFault& f, const std::stop_token&) {
  if (faults == nullptr) return UserFaultAnswer::look_again;
  // Others may have brought it meanwhile, or unregistered the page: the fault looks again.
  if (f.kind == UserFaultModes::missing) {
    (void)faults->zero_pages(f.address, kPageSize);
  } else if (f.kind == UserFaultModes::minor) {
    (void)faults->map_cached(f.address, kPageSize);
  } else {
    (void)faults->write_protect(f.address, kPageSize, UserProtectFlags::none);
  }
  return UserFaultAnswer::look_again;
}

bool Owner::may_be_told(Span span) const noexcept {
  const auto begin = pages_.begin() + static_cast<std::ptrdiff_t>(span.first);
  return span.count != 0 &&
         std::all_of(begin, begin + static_cast<std::ptrdiff_t>(span.count),
                     [](const Page& p) { return p.mapped && p.kind != Page::Kind::file; });
}

void Owner::tell() {
  const Span span = mapped_span();
  if (server_.faults == nullptr || !may_be_told(span)) return;
  const auto begin = pages_.begin() + static_cast<std::ptrdiff_t>(span.first);
  const bool shared = std::all_of(begin, begin + static_cast<std::ptrdiff_t>(span.count),
                                  [](const Page& p) { return p.kind == Page::Kind::shared; });
  const uint64_t kinds = shared ? 7 : 3;
  const auto modes = static_cast<UserFaultModes>(1 + random_.below(kinds));
  change({.what = "user faults: register",
          .span = span,
          .after = [](const Page& p, uint64_t) { return p; },
          .run =
              [=, this](const std::stop_token& stop) {
                return server_.faults->register_range(at(span.first), span.count * kPageSize, modes,
                                                      stop);
              },
          .on_stop = Change::OnStop::part_done});
}

void Owner::tell_no_more() {
  const Span span = mapped_span();
  if (server_.faults == nullptr || !may_be_told(span)) return;
  change({.what = "user faults: unregister",
          .span = span,
          .after = [](const Page& p, uint64_t) { return p; },
          .run =
              [=, this](const std::stop_token& stop) {
                return server_.faults->unregister_range(at(span.first), span.count * kPageSize,
                                                        stop);
              },
          .on_stop = Change::OnStop::part_done});
}

void Owner::close_to_stores() {
  const Span span = mapped_span();
  if (server_.faults == nullptr || !may_be_told(span)) return;
  change({.what = "user faults: close",
          .span = span,
          .after = [](const Page& p, uint64_t) { return p; },
          .run =
              [=, this](const std::stop_token& stop) {
                return server_.faults->write_protect(at(span.first), span.count * kPageSize,
                                                     UserProtectFlags::write_protect, stop);
              },
          .may_fail = [](Error e) { return e == Error::noent; },  // not registered for it
          .on_stop = Change::OnStop::part_done});
}

// One page to another place of the lot, where none is: its words go with it.
void Owner::move_page() {
  const uint64_t from = random_.below(kPages);
  const uint64_t to = random_.below(kPages);
  if (server_.faults == nullptr || from == to || !pages_[from].is_private_anonymous() ||
      !pages_[to].is_private_anonymous()) {
    return;
  }
  Page& target = pages_[to];
  const bool locked = target.flags.has(VmaFlag::locked);
  me_.events.begin("user faults: move", at(to), 1);
  (void)server_.faults->register_range(at(to), kPageSize, UserFaultModes::missing);
  const Result<void> dropped =
      space_.advise(at(to), kPageSize, locked ? Advice::dontneed_locked : Advice::dontneed);
  if (!dropped) violated(fmt::format("dontneed failed with {}", error_name(dropped.error())));
  target.forget_words();
  const UserFaultDone done = server_.faults->move(at(to), at(from), kPageSize);
  me_.events.end(done.error ? error_name(*done.error).data() : "done");
  me_.count(fmt::format("user faults: move: {}", done.error ? error_name(*done.error) : "done"));
  if (!done.error) {
    target.words = pages_[from].words;
    target.stored = pages_[from].stored;
    target.may_be_fresh = pages_[from].may_be_fresh;
    pages_[from].forget_words();
    return;
  }
  switch (*done.error) {
    case Error::inval:  // other rights, or one of them locked
    case Error::exist:  // a visitor was faster
    case Error::noent:  // nothing to move
    case Error::busy:   // a fork's child shows it too
      return;
    default: violated(fmt::format("a page's move failed with {}", error_name(*done.error)));
  }
}

}  // namespace pervma::torture

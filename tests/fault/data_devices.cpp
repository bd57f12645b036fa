// data_devices.cpp: faults that an owner serves himself or has served, and what he does through a
// secondary MMU.
#include <algorithm>
#include <stdexcept>

#include "fault/frame_bytes.h"
#include "tests/fault/data_owner.h"

namespace pervma::test {

namespace {

constexpr auto kMissing = UserFaultModes::missing;
constexpr auto kClosing = UserFaultModes::write_protect;

}  // namespace

void Owner::begin_faults() {
  const std::scoped_lock lock(faults_mutex_);
  faults_ = *space_.create_user_faults({.handler = this, .protect_unpopulated = pick(2) == 0});
  told_through_.store(faults_.get());
}

// Ends every registration; who is in the handler is waited for.
void Owner::end_faults() {
  const std::scoped_lock lock(faults_mutex_);
  faults_.reset();
  told_through_.store(nullptr);
  for (Page& p : pages_) p.modes = UserFaultModes::none;
}

// By whatever thread met the fault: the owner's, or the collapser's.
UserFaultAnswer Owner::fault(const UserFault& f, const std::stop_token&) {
  told_.fetch_or(static_cast<uint32_t>(f.kind));
  const uint32_t call = calls_.fetch_add(1);
  if (is_rough) {
    if (call % 512 == 17) throw std::runtime_error("a handler that throws");
    if (call % 512 == 113) return static_cast<UserFaultAnswer>(77);
    if (call % 8 == 0) return UserFaultAnswer::wait;
  }
  return serve(f) ? UserFaultAnswer::look_again : UserFaultAnswer::bus_error;
}

// False: there is no memory. That others were faster, or the page is no longer registered, shows
// when it is looked at again.
bool Owner::serve(const UserFault& f) {
  UserFaults* const faults = told_through_.load();
  switch (f.kind) {
    case UserFaultModes::missing:
      return faults->copy(f.address, std::as_bytes(std::span(served_))).error != Error::nomem;
    case UserFaultModes::minor:
      return faults->map_cached(f.address, kPageSize).error != Error::nomem;
    default: (void)faults->write_protect(f.address, kPageSize, UserProtectFlags::none); return true;
  }
}

std::stop_token Owner::stop() {
  const std::scoped_lock lock(stop_mutex_);
  if (stop_.stop_requested()) stop_ = std::stop_source();
  return stop_.get_token();
}

void Owner::help(std::mt19937_64& random) {
  const std::scoped_lock lock(faults_mutex_);
  if (faults_ == nullptr) return;
  while (const std::optional<UserFault> f = faults_->try_next()) {
    if (random() % 16 != 0 && serve(*f)) continue;
    // Where memory cannot be had it may be the waiting owner who keeps it so.
    const std::scoped_lock stop_lock(stop_mutex_);
    stop_.request_stop();
  }
  const uint64_t page = random() % kPart;
  const Address place = mixture_ == Mixture::huge && random() % 3 == 0
                            ? at(kPart + kStack + random() % (kRegions * kRegion))
                            : at(page);
  if (tlb_ != nullptr) tlb_->fill(place, Access::read);
  switch (random() % 8) {
    case 0:
      (void)faults_->wake(at(0), kPart * kPageSize);
      if (mixture_ == Mixture::huge) {
        (void)faults_->wake(at(kPart + kStack), kRegions * kHugePageSize);
      }
      break;
    case 1: (void)faults_->write_protect(place, kPageSize); break;
    case 2: (void)faults_->map_cached(place, kPageSize); break;
    default: (void)faults_->copy(place, std::as_bytes(std::span(served_))); break;
  }
}

void Owner::step_served(Span s) {
  switch (pick(16)) {
    case 0:
    case 1:
    case 2:
    case 3: return register_faults(s);
    case 4: return unregister_faults(s);
    case 5: return (void)faults_->write_protect(at(s.first), s.count * kPageSize);
    case 6:
      return (void)faults_->write_protect(at(s.first), s.count * kPageSize, UserProtectFlags::none);
    case 7:
    case 8: return close_and_store(s.first);
    case 9: return copy_pages(s);
    case 10: return zero_pages(s);
    case 11: return (void)faults_->map_cached(at(s.first), s.count * kPageSize);
    case 12:
    case 13: return move_served(s.first);
    case 14:
      if (pick(8) != 0) return;
      end_faults();
      return begin_faults();
    default: {
      const std::optional<VmaInfo> vma = space_.find_vma(at(s.first));
      ASSERT_EQ(vma.has_value(), pages_[s.first].mapped);
      ASSERT_TRUE(!vma || vma->user_faults == pages_[s.first].modes) << s.first;
    }
  }
}

void Owner::register_faults(Span s) {
  const bool minor = all_of(s, [](const Page& p) { return p.kind == Kind::memory; });
  (void)told(s, static_cast<UserFaultModes>(1 + pick(minor ? 7 : 3)));
}

// Registers the range for these, if it can be. The modes replace those that are not all of them.
bool Owner::told(Span s, UserFaultModes modes) {
  if (!all_of(s, [](const Page& p) {
        return p.mapped && (p.kind == Kind::anon || p.kind == Kind::memory);
      })) {
    return false;
  }
  const Result<void> done = faults_->register_range(at(s.first), s.count * kPageSize, modes);
  if (!done) failed = true;
  EXPECT_TRUE(done);
  count("ranges registered");
  change(s, [this, modes](Page& p) {
    if (!includes(p.modes, modes)) p.modes = modes;
    Content& c = content_of(p);
    if (c.state == Content::State::absent) c.state = Content::State::open;
  });
  return true;
}

void Owner::unregister_faults(Span s) {
  if (!faults_->unregister_range(at(s.first), s.count * kPageSize)) return;
  change(s, [](Page& p) { p.modes = UserFaultModes::none; });
}

// A store to a page that is there and was closed has to be told first.
void Owner::close_and_store(uint64_t page) {
  Page& p = pages_[page];
  if (p.prot != kReadWriteProt || is_beyond_end(p) || !told({page, 1}, kClosing)) return;
  store(page, pick(kWords));
  const bool is_there = content_of(p).state == Content::State::there && !content_of(p).may_vanish;
  if (!faults_->write_protect(at(page), kPageSize)) return;
  if (pick(2) == 0) page_out({page, 1});
  told_.store(0);
  const uint64_t before = refused_;
  store(page, pick(kWords));
  if (!is_there || refused_ != before) return;
  count("stores to closed pages");
  if ((told_.load() & static_cast<uint32_t>(kClosing)) != 0) return;
  failed = true;
  ADD_FAILURE() << "owner " << self_ << " was not told of a store to his page " << page;
}

// A filling that had nothing in its way for so many bytes.
void Owner::filled(Span s, const UserFaultDone& done, const Content& with) {
  const uint64_t pages = done.bytes / kPageSize;
  for (uint64_t i = 0; i < pages; ++i) {
    Page& p = pages_[s.first + i];
    Content& c = content_of(p);
    const bool was_there = c.state == Content::State::there && !c.may_vanish;
    if (was_there || p.modes == UserFaultModes::none) failed = true;
    ASSERT_FALSE(was_there) << "owner " << self_ << ": page " << s.first + i << " was there";
    ASSERT_NE(p.modes, UserFaultModes::none);
    c = with;
    c.state = Content::State::there;
  }
  if (pages != 0) count("fillings");
}

void Owner::copy_pages(Span s) {
  // Of a file's the model knows no page of zeros.
  if (!all_of(s, [](const Page& p) { return p.kind == Kind::anon; }) || !told(s, kMissing)) return;
  std::vector<uint64_t> words(s.count * kWords, 0);
  const uint64_t word = pick(kWords);
  const uint64_t value = random_();
  for (uint64_t i = 0; i < s.count; ++i) words[i * kWords + word] = value;
  drop(s);
  const auto flags = pick(4) == 0 ? UserFillFlags::write_protect : UserFillFlags::none;
  filled(s, faults_->copy(at(s.first), std::as_bytes(std::span(words)), flags),
         {.words = {{word, value}}});
}

void Owner::zero_pages(Span s) {
  if (!all_of(s, [](const Page& p) { return p.kind == Kind::anon; }) || !told(s, kMissing)) return;
  drop(s);
  filled(s, faults_->zero_pages(at(s.first), s.count * kPageSize), {});
}

// One page to another place of the part, where none is: its bytes go with it.
void Owner::move_served(uint64_t from) {
  const uint64_t to = from < kPart ? pick(kPart) : kPart + kStack + pick(kRegions * kRegion);
  Page& source = pages_[from];
  Page& target = pages_[to];
  if (from == to || !source.mapped || !target.mapped || source.kind != Kind::anon ||
      target.kind != Kind::anon || is_in_stack(from)) {
    return;
  }
  if (!told({to, 1}, kMissing)) return;
  drop({to, 1});
  const UserFaultDone done = faults_->move(at(to), at(from), kPageSize);
  if (done.error) {
    const Error e = *done.error;
    ASSERT_TRUE(e == Error::inval || e == Error::exist || e == Error::noent || e == Error::busy ||
                e == Error::nomem || e == Error::fault)
        << error_name(e);
    return;
  }
  count("pages moved as user faults");
  Content moved = source.own;
  // It was there: what the helper brought, or elsewhere what the collapser did.
  if (moved.state == Content::State::open && !is_in_huge_zone(from) && !moved.may_be_fresh) {
    moved.state = Content::State::there;
    moved.is_served = true;
  }
  moved.may_be_fresh = true;
  target.own = moved;
  source.own = forgotten(source);
}

// --- the secondary MMU ---

// Keeps translations of some pages while all else happens, and comes back to them.
void Owner::step_device() {
  uint64_t& page = translated_[pick(translated_.size())];
  if (pick(6) == 0) page = pick(4) == 0 ? pick(pages_.size()) : pick(kPart);
  const bool writes = pick(3) == 0;
  if (!(writes ? store_by_device(page) : load_by_device(page))) {
    writes ? store(page, pick(kWords)) : load_page(space_, page);
    tlb_->fill(at(page), writes ? Access::write : Access::read);
  }
}

// False: there is no translation.
bool Owner::store_by_device(uint64_t page) {
  const Page& p = pages_[page];
  Content& c = content_of(pages_[page]);
  if (c.state != Content::State::there || c.may_vanish) return false;
  const uint64_t word = pick(kWords);
  const uint64_t value = random_();
  if (!tlb_->with_page(at(page), Access::write, [&](std::byte* bytes) {
        store_to_frame(bytes + word * sizeof value, bytes_of(value));
      })) {
    return false;
  }
  const bool may = p.mapped && p.prot == kReadWriteProt && !is_beyond_end(p);
  if (!may) failed = true;
  EXPECT_TRUE(may) << page;
  c.words[word] = value;
  count("stores by the device");
  return true;
}

bool Owner::load_by_device(uint64_t page) {
  PageBytes bytes;
  if (!tlb_->with_page(at(page), Access::read, [&](const std::byte* from) {
        load_from_frame(writable_bytes_of(bytes), from);
      })) {
    return false;
  }
  const Page& p = pages_[page];
  const bool may = p.mapped && p.prot != Prot::none && !is_beyond_end(p);
  if (!may) failed = true;
  EXPECT_TRUE(may) << page;
  looked_at(page, bytes, "load by the device");
  count("loads by the device");
  return true;
}

}  // namespace pervma::test

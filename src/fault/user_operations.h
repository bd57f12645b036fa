// user_operations.h: a space's UserFaults: who keeps which VMA while pages are brought.
//
// Every operation on pages asks for its VMAs' read locks without the mmap lock, and takes that for
// read when one cannot be had. What the VMAs must be is checked under the lock, on either way.
#pragma once

#include <algorithm>
#include <array>
#include <new>

#include "fault/frame_bytes.h"
#include "fault/paged_address_space.h"

namespace pervma {

// Whether pages of its own can lead back to the VMA. As in Linux all private memory is made ready
// for them before anybody looks at what it is. Neighbours are looked at under the mmap lock, which
// may only be tried here.
template <VmaLockDesign L>
bool PagedAddressSpace<L>::has_identity(VmaT& vma) noexcept {
  if (vma.is_shared() || vma.anon_vma() != nullptr) return true;
  const std::optional<MmapRead> mm = MmapRead::try_lock(this->mm_);
  return mm && this->prepare_anon_vma(vma);
}

// Runs run(vma) with the VMA at the address kept, if check(vma) finds nothing wrong with it.
template <VmaLockDesign L>
template <class Check, class Run>
SoftMmu::Insertion PagedAddressSpace<L>::under_vma(Address at, const std::stop_token& stop,
                                                   Check check, Run run) noexcept {
  if (const Lookup found = this->lock_vma_under_rcu(at); found.end == LookupEnd::locked) {
    const VmaHold hold(found);
    if (has_identity(*found.vma)) {
      if (const std::optional<Error> wrong = check(*found.vma)) return {wrong, 0};
      return run(*found.vma);
    }
  }
  const std::optional<MmapRead> read = MmapRead::lock_killable(this->mm_, stop);
  if (!read) return {Error::intr, 0};
  if (this->has_exited()) return {Error::srch, 0};
  VmaT* const vma = this->vma_at(at);
  if (vma == nullptr) return {Error::noent, 0};
  if (!vma->is_shared() && !this->prepare_anon_vma(*vma)) return {Error::nomem, 0};
  if (const std::optional<Error> wrong = check(*vma)) return {wrong, 0};
  return run(*vma);
}

// The same with two VMAs, which may be one. The second is asked for without waiting: a writer may
// hold it and wait for the reader of the first. When it cannot be had, the first is let go of
// before the mmap lock is waited for, and both are looked up anew (rule R19).
template <VmaLockDesign L>
template <class Check, class Run>
SoftMmu::Insertion PagedAddressSpace<L>::under_two_vmas(Address a, Address b,
                                                        const std::stop_token& stop, Check check,
                                                        Run run) noexcept {
  if (const Lookup first = this->lock_vma_under_rcu(a); first.end == LookupEnd::locked) {
    const VmaHold hold(first);
    if (has_identity(*first.vma)) {
      if (first.vma->range.contains(b)) {
        if (const std::optional<Error> wrong = check(*first.vma, *first.vma)) return {wrong, 0};
        return run(*first.vma, *first.vma);
      }
      if (const Lookup second = this->lock_vma_under_rcu(b); second.end == LookupEnd::locked) {
        const VmaHold other(second);
        if (const std::optional<Error> wrong = check(*first.vma, *second.vma)) return {wrong, 0};
        return run(*first.vma, *second.vma);
      }
    }
  }
  const std::optional<MmapRead> read = MmapRead::lock_killable(this->mm_, stop);
  if (!read) return {Error::intr, 0};
  if (this->has_exited()) return {Error::srch, 0};
  VmaT* const first = this->vma_at(a);
  VmaT* const second = this->vma_at(b);
  if (first == nullptr) return {Error::noent, 0};
  if (!first->is_shared() && !this->prepare_anon_vma(*first)) return {Error::nomem, 0};
  if (second == nullptr) return {Error::noent, 0};
  if (const std::optional<Error> wrong = check(*first, *second)) return {wrong, 0};
  return run(*first, *second);
}

template <VmaLockDesign L>
class PagedUserFaults final : public UserFaults {
 public:
  using Space = PagedAddressSpace<L>;
  using VmaT = typename Space::VmaT;

  // Takes over the reference.
  PagedUserFaults(Space& space, UserWaits& waits) noexcept : space_(space), waits_(waits) {
    space_.user_faults_.fetch_add(1, std::memory_order_relaxed);
  }
  // Nobody is told from the first line on; who comes before the second finds the VMA still
  // registered and looks again.
  ~PagedUserFaults() override {
    waits_.close();
    space_.release_user_faults(waits_);
    waits_.drop();
    space_.user_faults_.fetch_sub(1, std::memory_order_relaxed);
  }
  PagedUserFaults(const PagedUserFaults&) = delete;
  PagedUserFaults& operator=(const PagedUserFaults&) = delete;

  Result<void> register_range(Address start, uint64_t length, UserFaultModes modes,
                              const std::stop_token& stop) override {
    return space_.register_user_faults(waits_, start, length, modes, stop);
  }
  Result<void> unregister_range(Address start, uint64_t length,
                                const std::stop_token& stop) override {
    Result<void> done = space_.unregister_user_faults(waits_, start, length, stop);
    // Also where only a part was: who waits looks again.
    (void)wake(start, length);
    return done;
  }

  std::optional<UserFault> next(const std::stop_token& stop) override { return waits_.next(stop); }
  std::optional<UserFault> try_next() override { return waits_.try_next(); }
  Result<void> wake(Address start, uint64_t length) override {
    const Result<Range> range = space_.checked_user_range(start, length);
    if (!range) return std::unexpected(range.error());
    waits_.wake(*range);
    return {};
  }

  UserFaultDone copy(Address to, std::span<const std::byte> from, UserFillFlags flags,
                     const std::stop_token& stop) override {
    return fill(to, from.size(), {SoftMmu::Filling::frames, flags, from}, stop);
  }
  UserFaultDone zero_pages(Address at, uint64_t length, UserFillFlags flags,
                           const std::stop_token& stop) override {
    if (has(flags, UserFillFlags::write_protect)) return {0, Error::inval};
    return fill(at, length, {SoftMmu::Filling::zeros, flags, {}}, stop);
  }
  UserFaultDone map_cached(Address at, uint64_t length, UserFillFlags flags,
                           const std::stop_token& stop) override {
    return fill(at, length, {SoftMmu::Filling::cached, flags, {}}, stop);
  }
  UserFaultDone move(Address to, Address from, uint64_t length, UserMoveFlags flags,
                     const std::stop_token& stop) override;
  Result<void> write_protect(Address start, uint64_t length, UserProtectFlags flags,
                             const std::stop_token& stop) override;
  UserFaultCounters counters() const noexcept override { return waits_.counters(); }

 private:
  // Pages between which writers may come in.
  static constexpr std::size_t kBatch = 16;
  static constexpr std::size_t kMoveBatch = 512;

  struct How {
    SoftMmu::Filling with;
    UserFillFlags flags;
    std::span<const std::byte> from;
  };
  template <class Flags>
  static bool has(Flags all, Flags one) noexcept {
    return (static_cast<uint32_t>(all) & static_cast<uint32_t>(one)) != 0;
  }
  // What Linux says when a part was done: go on behind it.
  static UserFaultDone result(uint64_t bytes, std::optional<Error> error) noexcept {
    if (error && bytes != 0) error = Error::again;
    return {bytes, error};
  }

  UserFaultDone fill(Address to, uint64_t length, const How&, const std::stop_token&) noexcept;
  SoftMmu::Insertion fill_batch(Range left, const How&, std::span<const std::byte> from,
                                const std::stop_token&) noexcept;
  std::size_t prepare(std::span<Frame> frames, std::span<const std::byte> from) noexcept;
  std::optional<Error> may_fill(const VmaT&, Range, const How&) const noexcept;
  std::optional<Error> may_move(const VmaT& to_vma, const VmaT& from_vma, Range to,
                                Range from) const noexcept;
  Result<void> close_once(Range, SoftMmu::Closing, const std::stop_token&) noexcept;

  Space& space_;
  UserWaits& waits_;  // held
};

template <VmaLockDesign L>
std::optional<Error> PagedUserFaults<L>::may_fill(const VmaT& vma, Range range,
                                                  const How& how) const noexcept {
  const Range whole = vma.range;
  if (vma.user_context() == nullptr || !whole.contains(range)) return Error::noent;
  const bool closes = has(how.flags, UserFillFlags::write_protect);
  if (closes && !includes(vma.user_modes(), UserFaultModes::write_protect)) return Error::inval;
  if (how.with == SoftMmu::Filling::cached && vma.is_anonymous()) return Error::inval;
  return std::nullopt;
}

// Frames with the bytes, made before any lock is taken: the bytes may be slow to come.
template <VmaLockDesign L>
std::size_t PagedUserFaults<L>::prepare(std::span<Frame> frames,
                                        std::span<const std::byte> from) noexcept {
  FramePool& pool = space_.engine_.frames();
  std::size_t ready = 0;
  for (; ready < frames.size(); ++ready) {
    Frame& frame = frames[ready];
    frame = pool.alloc(FrameUse::page, Fill::none);
    for (int i = 0; !frame && i < SoftEngine::kMaxRooms && space_.engine_.make_room(); ++i) {
      frame = pool.alloc(FrameUse::page, Fill::none);
    }
    if (!frame) break;
    std::ranges::copy(from.subspan(ready * kPageSize, kPageSize), pool.bytes(frame).begin());
  }
  return ready;
}

template <VmaLockDesign L>
SoftMmu::Insertion PagedUserFaults<L>::fill_batch(Range left, const How& how,
                                                  std::span<const std::byte> from,
                                                  const std::stop_token& stop) noexcept {
  std::array<Frame, kBatch> frames{};
  std::size_t pages = std::min<uint64_t>(left.pages().value, kBatch);
  if (how.with == SoftMmu::Filling::frames) {
    pages = prepare(std::span(frames).first(pages), from);
    if (pages == 0) return {Error::nomem, 0};
  }
  const SoftMmu::Insertion done = space_.under_vma(
      left.start, stop, [&](const VmaT& vma) { return may_fill(vma, left, how); },
      [&](const VmaT& vma) {
        return space_.soft_mmu_.fill(vma, {.at = left.start,
                                           .pages = pages,
                                           .with = how.with,
                                           .closed = has(how.flags, UserFillFlags::write_protect),
                                           .frames = frames});
      });
  for (const Frame frame : frames) {
    if (frame) space_.engine_.frames().give_back(frame, FrameUse::page, Fill::none);
  }
  return done;
}

template <VmaLockDesign L>
UserFaultDone PagedUserFaults<L>::fill(Address to, uint64_t length, const How& how,
                                       const std::stop_token& stop) noexcept {
  constexpr auto kKnown = UserFillFlags::dont_wake | UserFillFlags::write_protect;
  const Result<Range> range = space_.checked_user_range(to, length);
  if (!range || (static_cast<uint32_t>(how.flags) & ~static_cast<uint32_t>(kKnown)) != 0) {
    return {0, Error::inval};
  }
  uint64_t bytes = 0;
  std::optional<Error> error;
  for (int rooms = 0; bytes < length && !error;) {
    if (stop.stop_requested()) {
      error = Error::intr;
      break;
    }
    const auto from = how.from.empty() ? how.from : how.from.subspan(bytes);
    const SoftMmu::Insertion done = fill_batch({to + bytes, range->end}, how, from, stop);
    bytes += done.done * kPageSize;
    error = done.error;
    // No lock is held here.
    if (error == Error::nomem && rooms++ < SoftEngine::kMaxRooms && space_.engine_.make_room()) {
      error.reset();
    }
  }
  if (bytes != 0 && !has(how.flags, UserFillFlags::dont_wake)) waits_.wake({to, to + bytes});
  return result(bytes, error);
}

// As Linux compares the two.
template <VmaLockDesign L>
std::optional<Error> PagedUserFaults<L>::may_move(const VmaT& to_vma, const VmaT& from_vma,
                                                  Range to, Range from) const noexcept {
  const VmaFlags differ = to_vma.flags() ^ from_vma.flags();
  const Range to_whole = to_vma.range;
  const Range from_whole = from_vma.range;
  const bool fits = to_whole.contains(to) && from_whole.contains(from);
  const bool alike = !differ.has_any(kAccessFlags | VmaFlag::locked);
  const bool fit_kind = to_vma.is_anonymous() && from_vma.is_anonymous() &&
                        !(to_vma.flags() | from_vma.flags()).has_any(kSpecialFlags);
  const bool told_here = to_vma.user_context() == &waits_;
  if (!fits || !alike || !fit_kind || !told_here || !from_vma.flags().has(VmaFlag::write)) {
    return Error::inval;
  }
  return std::nullopt;
}

template <VmaLockDesign L>
UserFaultDone PagedUserFaults<L>::move(Address to, Address from, uint64_t length,
                                       UserMoveFlags flags, const std::stop_token& stop) {
  constexpr auto kKnown = UserMoveFlags::dont_wake | UserMoveFlags::allow_source_holes;
  const Result<Range> target = space_.checked_user_range(to, length);
  const Result<Range> source = space_.checked_user_range(from, length);
  if (!target || !source || (static_cast<uint32_t>(flags) & ~static_cast<uint32_t>(kKnown)) != 0) {
    return {0, Error::inval};
  }
  uint64_t bytes = 0;
  std::optional<Error> error;
  for (int rooms = 0; bytes < length && !error;) {
    if (stop.stop_requested()) {
      error = Error::intr;
      break;
    }
    const std::size_t pages = std::min<uint64_t>((length - bytes) >> kPageShift, kMoveBatch);
    const SoftMmu::Insertion done = space_.under_two_vmas(
        to + bytes, from + bytes, stop,
        [&](const VmaT& t, const VmaT& f) {
          return may_move(t, f, {to + bytes, target->end}, {from + bytes, source->end});
        },
        [&](const VmaT& t, const VmaT& f) {
          return space_.soft_mmu_.move_pages(
              {.to_vma = t,
               .to = to + bytes,
               .from_vma = f,
               .from = from + bytes,
               .pages = pages,
               .over_holes = has(flags, UserMoveFlags::allow_source_holes)});
        });
    bytes += done.done * kPageSize;
    error = done.error;
    if (error == Error::nomem && rooms++ < SoftEngine::kMaxRooms && space_.engine_.make_room()) {
      error.reset();
    }
  }
  if (bytes != 0 && !has(flags, UserMoveFlags::dont_wake)) waits_.wake({to, to + bytes});
  return result(bytes, error);
}

template <VmaLockDesign L>
Result<void> PagedUserFaults<L>::close_once(Range range, SoftMmu::Closing closing,
                                            const std::stop_token& stop) noexcept {
  const auto close = [&](const VmaT& vma, Range part) -> Result<void> {
    if (!includes(vma.user_modes(), UserFaultModes::write_protect)) {
      return std::unexpected(Error::noent);
    }
    return space_.soft_mmu_.close_pages(vma, part, closing);
  };
  if (const auto found = space_.lock_vma_under_rcu(range.start); found.end == LookupEnd::locked) {
    const typename Space::VmaHold hold(found);
    const Range whole = found.vma->range;
    if (whole.contains(range)) return close(*found.vma, range);
  }
  const std::optional<MmapRead> read = MmapRead::lock_killable(space_.mm_, stop);
  if (!read) return std::unexpected(Error::intr);
  if (space_.has_exited()) return std::unexpected(Error::srch);
  Result<void> done = std::unexpected(Error::noent);
  for (Address at = range.start; at < range.end;) {
    const VmaT* const vma = space_.vma_from(at);
    if (vma == nullptr || vma->start() >= range.end) break;
    const Range part = vma->range.intersection({at, range.end});
    done = close(*vma, part);
    if (!done) break;
    at = part.end;
  }
  return done;
}

template <VmaLockDesign L>
Result<void> PagedUserFaults<L>::write_protect(Address start, uint64_t length,
                                               UserProtectFlags flags,
                                               const std::stop_token& stop) {
  const Result<Range> range = space_.checked_user_range(start, length);
  if (!range) return std::unexpected(range.error());
  const bool closes = has(flags, UserProtectFlags::write_protect);
  const bool wakes = !has(flags, UserProtectFlags::dont_wake);
  if ((static_cast<uint32_t>(flags) & ~3u) != 0 || (closes && !wakes)) {
    return std::unexpected(Error::inval);
  }
  const auto closing = !closes                         ? SoftMmu::Closing::open
                       : waits_.protects_unpopulated() ? SoftMmu::Closing::close_unpopulated
                                                       : SoftMmu::Closing::close;
  Result<void> done = close_once(*range, closing, stop);
  for (int rooms = 0; !done && done.error() == Error::nomem && rooms < SoftEngine::kMaxRooms &&
                      space_.engine_.make_room();
       ++rooms) {
    done = close_once(*range, closing, stop);
  }
  if (done && !closes && wakes) waits_.wake(*range);
  return done;
}

template <VmaLockDesign L>
Result<std::unique_ptr<UserFaults>> PagedAddressSpace<L>::create_user_faults(
    const UserFaultOptions& options) {
  auto* const waits = new (std::nothrow) UserWaits(options);
  if (waits == nullptr) return std::unexpected(Error::nomem);
  if (waits->number() == 0) {
    waits->drop();
    return std::unexpected(Error::nomem);
  }
  std::unique_ptr<UserFaults> faults(new (std::nothrow) PagedUserFaults<L>(*this, *waits));
  if (faults == nullptr) {
    waits->drop();
    return std::unexpected(Error::nomem);
  }
  return faults;
}

}  // namespace pervma

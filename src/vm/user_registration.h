// user_registration.h: which VMAs are registered for user faults, with whom and for what
// (UFFDIO_REGISTER and UFFDIO_UNREGISTER).
//
// All checks come first, so that a refusal changes nothing. Then each VMA is split, merged and
// changed as by any change of flags: all that can fail is had before the VMA is touched (rule R27),
// and context and flags change under its write lock, which the faults that it has told of before
// have left (rule R9). Marks of protected pages go under the same lock (rule R12).
#pragma once

#include "vm/advise.h"

namespace pervma {

// The bounds that every call with a range checks first.
template <VmaLockDesign L>
Result<Range> BasicAddressSpace<L>::checked_user_range(Address start,
                                                       uint64_t length) const noexcept {
  if (!start.is_page_aligned() || length == 0 || (length & kPageMask) != 0 ||
      !is_in_space(start, length)) {
    return std::unexpected(Error::inval);
  }
  return Range{start, start + length};
}

// Calls visit(VmaT&, Range) for the part of every VMA in the range until one fails. Error::inval:
// there is none.
template <VmaLockDesign L>
template <class Visit>
Result<void> BasicAddressSpace<L>::for_each_told_part(Range range, Visit visit) noexcept {
  bool any = false;
  for (Address at = range.start; at < range.end;) {
    VmaT* const v = vma_from(at);
    if (v == nullptr || v->start() >= range.end) break;
    const Range part = v->range.intersection({at, range.end});
    if (Result<void> done = visit(*v, part); !done) return done;
    any = true;
    at = part.end;
  }
  if (!any) return std::unexpected(Error::inval);
  return {};
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::register_user_faults(UserContext& context, Address start,
                                                        uint64_t length, UserFaultModes modes,
                                                        const std::stop_token& stop) noexcept {
  constexpr UserFaultModes kAll =
      UserFaultModes::missing | UserFaultModes::write_protect | UserFaultModes::minor;
  if (modes == UserFaultModes::none || !includes(kAll, modes)) return std::unexpected(Error::inval);
  const Result<Range> range = checked_user_range(start, length);
  if (!range) return std::unexpected(range.error());
  std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
  if (!write) return std::unexpected(Error::intr);
  mm_.assert_held_write();
  if (exited_) return std::unexpected(Error::srch);
  const Result<void> allowed =
      for_each_told_part(*range, [&](const VmaT& v, Range) -> Result<void> {
        if (!mmu_.may_tell(v, modes)) return std::unexpected(Error::inval);
        if (!v.flags().has(VmaFlag::may_write)) return std::unexpected(Error::perm);
        if (v.user_context() != nullptr && v.user_context() != &context) {
          return std::unexpected(Error::busy);
        }
        return {};
      });
  if (!allowed) return allowed;
  return for_each_told_part(*range, [&](VmaT& v, Range part) -> Result<void> {
    mm_.assert_held_write();
    const UserFaultModes old = v.user_modes();
    if (v.user_context() == &context && includes(old, modes)) return {};
    return change_user_faults(v, part, &context, modes);
  });
}

// The VMA's faults in the part are told to the context from here on, or, with null, to nobody.
template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::change_user_faults(VmaT& v, Range part, UserContext* context,
                                                      UserFaultModes modes) noexcept {
  // Other modes leave the marks of closed pages, which mean nothing until the mode comes again.
  const bool opens = context == nullptr && includes(v.user_modes(), UserFaultModes::write_protect);
  const VmaFlags others = v.flags() & ~VmaFlags(VmaFlag::user_fault);
  const VmaFlags flags = context != nullptr ? others | VmaFlag::user_fault : others;
  if (Result<void> done = change_look(v, part, {flags, v.name, context, modes}); !done) {
    return done;
  }
  if (opens) mmu_.clear_user_protection(part);
  return {};
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::unregister_user_faults(UserContext& context, Address start,
                                                          uint64_t length,
                                                          const std::stop_token& stop) noexcept {
  const Result<Range> range = checked_user_range(start, length);
  if (!range) return std::unexpected(range.error());
  std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
  if (!write) return std::unexpected(Error::intr);
  mm_.assert_held_write();
  if (exited_) return std::unexpected(Error::srch);
  const Result<void> allowed =
      for_each_told_part(*range, [&](const VmaT& v, Range) -> Result<void> {
        const bool others = v.user_context() != nullptr && v.user_context() != &context;
        if (others || !mmu_.may_tell(v, v.user_modes())) return std::unexpected(Error::inval);
        return {};
      });
  if (!allowed) return allowed;
  return for_each_told_part(*range, [&](VmaT& v, Range part) -> Result<void> {
    mm_.assert_held_write();
    if (v.user_context() == nullptr) return {};
    return change_user_faults(v, part, nullptr, UserFaultModes::none);
  });
}

// Everything that is registered with the context. Cannot fail: where there is no memory for a merge
// there is none.
template <VmaLockDesign L>
void BasicAddressSpace<L>::release_user_faults(const UserContext& context) noexcept {
  const MmapWrite write(mm_);
  if (exited_) return;
  (void)for_each_told_part({Address{0}, options_.top}, [&](VmaT& v, Range part) -> Result<void> {
    mm_.assert_held_write();
    if (v.user_context() != &context) return {};
    if (change_user_faults(v, part, nullptr, UserFaultModes::none)) return {};
    v.reset_flags(mm_, v.flags() & ~VmaFlags(VmaFlag::user_fault));
    v.set_user_faults(nullptr, UserFaultModes::none);
    mmu_.clear_user_protection(part);
    return {};
  });
}

}  // namespace pervma

// vma_rules.h: Linux's rules about flags, rights and merging that need no lock design: pure
// functions of values. (Semantics: mmap(2), mprotect(2), madvise(2) and observed behaviour.)
#pragma once

#include <cstdint>

#include "pervma/mapping.h"
#include "pervma/vma_info.h"
#include "vm/vma.h"

namespace pervma {

inline constexpr VmaFlags kAccessFlags = VmaFlags(VmaFlag::read) | VmaFlag::write | VmaFlag::exec;
inline constexpr VmaFlags kMayFlags =
    VmaFlags(VmaFlag::may_read) | VmaFlag::may_write | VmaFlag::may_exec;
// VMAs with one of these never merge.
inline constexpr VmaFlags kSpecialFlags =
    VmaFlags(VmaFlag::io) | VmaFlag::dont_expand | VmaFlag::pfnmap | VmaFlag::mixedmap;
// Ignored when flags are compared for a merge; the result has those of all sources.
inline constexpr VmaFlags kStickyFlags = VmaFlag::maybe_guard;
inline constexpr VmaFlags kLockedFlags = VmaFlags(VmaFlag::locked) | VmaFlag::lock_on_fault;

// Unmapped pages kept below a VMA that grows down (and where a stack may not grow to).
inline constexpr uint64_t kStackGuardGap = 256 * kPageSize;

inline constexpr uint64_t kHugePageSize = uint64_t{2} << 20;

constexpr VmaFlags flags_from_prot(Prot prot) noexcept {
  return VmaFlags::from_bits(static_cast<uint32_t>(prot) & 7u);
}
static_assert(flags_from_prot(Prot::exec) == VmaFlags(VmaFlag::exec));

constexpr Prot prot_from_flags(VmaFlags f) noexcept {
  return static_cast<Prot>((f & kAccessFlags).bits());
}

// Whether `flags` grant rights that their may_* bits deny.
constexpr bool exceeds_may(VmaFlags flags) noexcept {
  const VmaFlags may = VmaFlags::from_bits((flags & kMayFlags).bits() >> 4);
  return (flags & kAccessFlags & ~may) != VmaFlags{};
}
static_assert(static_cast<uint32_t>(VmaFlag::may_read) >> 4 ==
              static_cast<uint32_t>(VmaFlag::read));

// Private, writable and not exempt: memory that may be needed in full, so it is accounted.
constexpr bool is_accountable(VmaFlags f) noexcept {
  return (f & (VmaFlag::noreserve | VmaFlag::shared | VmaFlags(VmaFlag::write))) ==
         VmaFlags(VmaFlag::write);
}

// Marks made by the system, or memory that may vanish, are never locked.
constexpr bool can_be_locked(VmaFlags f) noexcept {
  return !f.has_any(kSpecialFlags | VmaFlag::special | VmaFlag::droppable);
}

// What a new or changed range would be, as far as merging looks at it.
struct RangeTraits {
  Range range;
  VmaFlags flags;
  uint64_t pgoff = 0;
  OpenFile* file = nullptr;
  const char* name = nullptr;
  UserContext* user_context = nullptr;
  UserFaultModes user_modes{};
};

// What a VMA is to be like; the rest of it stays.
struct VmaLook {
  VmaFlags flags;
  const char* name = nullptr;
  UserContext* user_context = nullptr;
  UserFaultModes user_modes{};
};

// What merging compares wherever the range is.
inline bool is_like(const VmaFields& vma, const char* name, const UserContext* user_context,
                    const RangeTraits& r) noexcept {
  return (vma.flags() & ~kStickyFlags) == (r.flags & ~kStickyFlags) && vma.file == r.file &&
         name == r.name && user_context == r.user_context && vma.user_modes() == r.user_modes;
}
// All of the merge rule but anon_vma, adjacency included: may `left` grow over the range?
template <class V>
bool extends_right(const V& left, const RangeTraits& r) noexcept {
  return left.end() == r.range.start && is_like(left, left.name, left.user_context(), r) &&
         left.pgoff + left.range.pages().value == r.pgoff;
}
// May `right` grow down over the range?
template <class V>
bool extends_left(const V& right, const RangeTraits& r) noexcept {
  return r.range.end == right.start() && is_like(right, right.name, right.user_context(), r) &&
         r.pgoff + r.range.pages().value == right.pgoff;
}

// One side of the anon_vma rule: may a range with identity `range_anon`, whose own chain is
// `range_singular`, go into a VMA with `target_anon` and `target_singular`? A fork's child (a chain
// of several links) must not spread its ancestors' pages.
constexpr bool anon_vma_allows(const AnonVma* target_anon, bool target_singular,
                               const AnonVma* range_anon, bool range_singular) noexcept {
  if (target_anon == range_anon) return true;
  if (target_anon == nullptr) return range_singular;
  if (range_anon == nullptr) return target_singular;
  return false;
}

// May a VMA without an identity take that of its neighbour, `left` ending where `right` begins?
// (The neighbour's chain must be singular besides.)
inline bool may_share_anon_vma(const VmaFields& left, const VmaFields& right) noexcept {
  return left.end() == right.start() && left.file == right.file &&
         ((left.flags() ^ right.flags()) & ~(kAccessFlags | kStickyFlags)) == VmaFlags{} &&
         left.user_modes() == right.user_modes() &&
         right.pgoff == left.pgoff + left.range.pages().value;
}

// Lowest address that a neighbour below may reach: a growing VMA keeps a gap.
inline Address start_with_gap(const VmaFields& v) noexcept {
  if (!v.flags().has(VmaFlag::growsdown)) return v.start();
  return v.start().value > kStackGuardGap ? v.start() - kStackGuardGap : Address{0};
}

}  // namespace pervma

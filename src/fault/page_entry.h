// page_entry.h: one 64-bit entry of a page table, as a value.
//
//   bit 0   present    the frame may be reached, as far as the rights say
//   bit 1   writable   a store may go to the frame; implies dirty
//   bit 2   user       loads may go to the frame; absent in a page of a PROT_NONE mapping
//   bit 3   exec
//   bit 4   dirty      was writable since it was installed
//   bit 5   anon       the frame is private memory, not a page of a file's cache
//   bit 6   guard      no frame: an access here is refused whatever the VMA allows; not present
//   bit 7   freed      the program gave its contents up and did not write since: the frame may go
//   bit 8   young      used since it was aged last; set without the table's lock, so it may be lost
//   bit 9   swap       no frame: the page is in a slot of the engine's store; not present
//   bit 10  huge       of an upper entry: the frame is the first of a block, and all of
//                      that is here
//   bit 11  closed     the embedder has closed the page to stores (user_fault.h): it is never
//                      writable; alone, or with anon, of a page that is not there yet
//   12..43  number of the frame, of the next table, or of the slot
//
// All bits zero: nothing here, the next access faults. Of a table in an upper entry: only present
// and the number.
#pragma once

#include <cstdint>

#include "fault/frame.h"
#include "pervma/vma_info.h"

namespace pervma {

enum class Right : uint64_t { none = 0, write = 2, user = 4, exec = 8 };

constexpr Right operator|(Right a, Right b) noexcept {
  return Right(static_cast<uint64_t>(a) | static_cast<uint64_t>(b));
}
constexpr Right operator&(Right a, Right b) noexcept {
  return Right(static_cast<uint64_t>(a) & static_cast<uint64_t>(b));
}
constexpr bool includes(Right all, Right some) noexcept { return (all & some) == some; }

// What entries of a VMA with these flags may allow at most. As on x86, whoever may write or execute
// may read.
constexpr Right rights_of(VmaFlags flags) noexcept {
  Right rights = Right::none;
  if (flags.has_any(VmaFlag::read | VmaFlag::write | VmaFlags(VmaFlag::exec))) {
    rights = rights | Right::user;
  }
  if (flags.has(VmaFlag::write)) rights = rights | Right::write;
  if (flags.has(VmaFlag::exec)) rights = rights | Right::exec;
  return rights;
}
constexpr Right without_write(Right rights) noexcept {
  return rights & (Right::user | Right::exec);
}

enum class PageKind : uint64_t { file = 0, anon = 1 << 5 };

class PageEntry {
 public:
  constexpr PageEntry() noexcept = default;
  static constexpr PageEntry from_bits(uint64_t bits) noexcept {
    PageEntry e;
    e.bits_ = bits;
    return e;
  }
  static constexpr PageEntry page(Frame frame, PageKind kind, Right rights) noexcept {
    return from_bits(address_bits(frame) | kPresent | kYoung | static_cast<uint64_t>(kind))
        .with_rights(rights);
  }
  static constexpr PageEntry table(Frame frame) noexcept {
    return from_bits(address_bits(frame) | kPresent);
  }
  static constexpr PageEntry huge(Frame first, Right rights) noexcept {
    return from_bits(page(first, PageKind::anon, rights).bits() | kHuge);
  }
  static constexpr PageEntry guard() noexcept { return from_bits(kGuard); }
  static constexpr PageEntry swap(uint32_t slot) noexcept {
    return from_bits((uint64_t{slot} << kPageShift) | kSwap | kAnon);
  }

  // Of a page that is not there, and will be closed to stores when it comes.
  static constexpr PageEntry closed_mark(PageKind kind) noexcept {
    return from_bits(kClosed | static_cast<uint64_t>(kind));
  }

  constexpr uint64_t bits() const noexcept { return bits_; }
  constexpr bool is_none() const noexcept { return bits_ == 0; }
  constexpr bool is_present() const noexcept { return (bits_ & kPresent) != 0; }
  // Of an upper entry.
  constexpr bool is_table() const noexcept { return (bits_ & (kPresent | kHuge)) == kPresent; }
  constexpr bool is_huge() const noexcept { return (bits_ & kHuge) != 0; }
  // What a huge entry says of one of its pages.
  constexpr PageEntry part(unsigned index) const noexcept {
    return from_bits((bits_ & ~kHuge) + (uint64_t{index} << kPageShift));
  }
  constexpr bool is_guard() const noexcept { return (bits_ & kGuard) != 0; }
  constexpr bool is_swap() const noexcept { return (bits_ & kSwap) != 0; }
  constexpr uint32_t swap_slot() const noexcept {
    return static_cast<uint32_t>(bits_ >> kPageShift);
  }
  constexpr bool is_young() const noexcept { return (bits_ & kYoung) != 0; }
  constexpr PageEntry used() const noexcept { return from_bits(bits_ | kYoung); }
  constexpr PageEntry aged() const noexcept { return from_bits(bits_ & ~kYoung); }
  // With what is remembered of another entry for the same page: whether it was written, freed, or
  // closed.
  constexpr PageEntry marked_as(PageEntry other) const noexcept {
    return from_bits(bits_ | (other.bits_ & (kDirty | kFreed | kClosed)));
  }
  constexpr bool is_closed() const noexcept { return (bits_ & kClosed) != 0; }
  constexpr bool is_closed_mark() const noexcept { return (bits_ & ~kAnon) == kClosed; }
  constexpr PageEntry closed() const noexcept {
    return from_bits((bits_ | kClosed) & ~static_cast<uint64_t>(Right::write));
  }
  constexpr PageEntry opened() const noexcept {
    return is_closed_mark() ? PageEntry{} : from_bits(bits_ & ~kClosed);
  }
  constexpr bool is_anon() const noexcept { return (bits_ & kAnon) != 0; }
  constexpr bool is_dirty() const noexcept { return (bits_ & kDirty) != 0; }
  constexpr bool is_freed() const noexcept { return (bits_ & kFreed) != 0; }
  constexpr bool is_zero_page() const noexcept { return is_present() && frame() == kZeroFrame; }
  // Whether the frame is counted: not nothing, not a mark, not the shared zero page.
  constexpr bool has_counted_frame() const noexcept {
    return is_present() && frame() != kZeroFrame;
  }
  constexpr Frame frame() const noexcept {
    return Frame{static_cast<uint32_t>(bits_ >> kPageShift)};
  }

  constexpr Right rights() const noexcept { return Right(bits_ & kRights); }
  constexpr bool allows(Right wanted) const noexcept {
    return is_present() && includes(rights(), wanted);
  }
  // With these rights besides; becoming writable is becoming dirty, and wanted again.
  constexpr PageEntry with_rights(Right more) const noexcept {
    if (!includes(more, Right::write)) return from_bits(bits_ | static_cast<uint64_t>(more));
    return from_bits((bits_ & ~kFreed) | static_cast<uint64_t>(more) | kDirty);
  }
  // Given up by the program, until the next store, which faults.
  constexpr PageEntry freed() const noexcept {
    return from_bits((bits_ | kFreed) & ~static_cast<uint64_t>(Right::write));
  }
  // Not written, as far as is known.
  constexpr PageEntry cleaned() const noexcept { return from_bits(bits_ & ~kDirty); }
  // With these rights at most.
  constexpr PageEntry limited_to(Right most) const noexcept {
    return from_bits(bits_ & ~(kRights & ~static_cast<uint64_t>(most)));
  }
  friend constexpr bool operator==(PageEntry, PageEntry) = default;

 private:
  static constexpr uint64_t kPresent = 1 << 0;
  static constexpr uint64_t kRights = 7 << 1;
  static constexpr uint64_t kDirty = 1 << 4;
  static constexpr uint64_t kAnon = static_cast<uint64_t>(PageKind::anon);
  static constexpr uint64_t kGuard = 1 << 6;
  static constexpr uint64_t kFreed = 1 << 7;
  static constexpr uint64_t kYoung = 1 << 8;
  static constexpr uint64_t kSwap = 1 << 9;
  static constexpr uint64_t kHuge = 1 << 10;
  static constexpr uint64_t kClosed = 1 << 11;

  static constexpr uint64_t address_bits(Frame frame) noexcept {
    return uint64_t{frame.number} << kPageShift;
  }

  uint64_t bits_ = 0;
};

}  // namespace pervma

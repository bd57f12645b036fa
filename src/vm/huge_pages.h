// huge_pages.h: what the map has to know of the collapsing of pages: 2 MiB of small pages become
// one.
#pragma once

#include <cstdint>

#include "pervma/address.h"
#include "vm/vma_rules.h"

namespace pervma {

// What a look at the entries of 2 MiB says of making them one.
struct CollapseProspect {
  enum class State : uint8_t {
    huge,     // they are one
    fit,      // they can be
    swapped,  // they can be when `swapped` pages have been brought in
    refused,  // a mark or a foreign page is among them, or there is no table yet
  };
  State state = State::refused;
  unsigned pages = 0;    // private pages of their own
  unsigned swapped = 0;  // in the engine's store
};

// By the background collapser: at least half of it is there, all of it in memory. (It pays for the
// rest with zeros.)
constexpr bool is_worth_collapsing(const CollapseProspect& p) noexcept {
  return p.state == CollapseProspect::State::fit && p.pages >= 256;
}

// Memory for a huge page, had before any lock is taken. Numbers of the Mmu's own.
struct HugeMemory {
  uint32_t block = 0;
  uint32_t table = 0;
  constexpr explicit operator bool() const noexcept { return block != 0; }
};

// How the attempt to make a huge page ended.
enum class CollapseEnd : uint8_t {
  collapsed,  // by this call or before
  unfit,      // these pages cannot be one
  gone,       // the memory is no longer what was asked about
  busy,       // pages came and went meanwhile
  out_of_memory,
  interrupted,
};

// What a walk of the background collapser saw.
struct CollapseScan {
  Address next;            // where to go on; the space's end: it is through
  unsigned looked = 0;     // at so many places
  bool collapsed = false;  // the last of them
};

// What is asked of the memory, besides that it can be.
enum class CollapseWish : uint8_t {
  asked_for,  // nothing: somebody asked for this very range
  advised,    // Advice::hugepage was given
  any,
};

constexpr Address huge_page_up(Address a) noexcept {
  return Address{(a.value + kHugePageSize - 1) & ~(kHugePageSize - 1)};
}
constexpr Address huge_page_down(Address a) noexcept {
  return Address{a.value & ~(kHugePageSize - 1)};
}

// Linux's rule for private memory, the same for a request and for khugepaged. (Memory of files is
// not collapsed, as by a kernel that is built without that.)
inline bool may_hold_huge_pages(const VmaFields& v, CollapseWish wish) noexcept {
  constexpr VmaFlags kNever =
      kSpecialFlags | VmaFlag::special | VmaFlag::user_fault | VmaFlag::nohugepage;
  if (!v.is_anonymous() || v.anon_vma() == nullptr || v.flags().has_any(kNever)) return false;
  if (wish == CollapseWish::advised && !v.flags().has(VmaFlag::hugepage)) return false;
  const Address first = huge_page_up(v.start());
  return v.start() <= first && first < v.end() && v.end() - first >= kHugePageSize;
}

}  // namespace pervma

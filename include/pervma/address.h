// address.h: the units of an address space. An Address is a byte address in the managed space
// (never a pointer of this process); a PageCount counts 4 KiB pages; a Range is half-open. Only
// meaningful arithmetic compiles; everything here is a value and safe from any thread.
#pragma once

#include <bit>
#include <compare>
#include <cstdint>
#include <limits>
#include <optional>

namespace pervma {

static_assert(std::endian::native == std::endian::little && sizeof(void*) == 8,
              "pervma is for 64-bit little-endian machines");

// The page size of every managed space, whatever the host's.
inline constexpr unsigned kPageShift = 12;
inline constexpr uint64_t kPageSize = uint64_t{1} << kPageShift;
inline constexpr uint64_t kPageMask = kPageSize - 1;

// A number of pages.
struct PageCount {
  uint64_t value = 0;

  constexpr uint64_t bytes() const noexcept { return value << kPageShift; }
  friend constexpr auto operator<=>(PageCount, PageCount) = default;
  friend constexpr PageCount operator+(PageCount a, PageCount b) { return {a.value + b.value}; }
  friend constexpr PageCount operator-(PageCount a, PageCount b) { return {a.value - b.value}; }
};

// A byte address in a managed space.
struct Address {
  uint64_t value = 0;

  constexpr bool is_page_aligned() const noexcept { return (value & kPageMask) == 0; }
  constexpr Address page_down() const noexcept { return {value & ~kPageMask}; }
  constexpr uint64_t page() const noexcept { return value >> kPageShift; }
  constexpr uint64_t offset_in_page() const noexcept { return value & kPageMask; }

  friend constexpr auto operator<=>(Address, Address) = default;
  // Wraps like unsigned arithmetic; use Range::from() where overflow must be caught.
  friend constexpr Address operator+(Address a, uint64_t bytes) { return {a.value + bytes}; }
  friend constexpr Address operator-(Address a, uint64_t bytes) { return {a.value - bytes}; }
  friend constexpr Address operator+(Address a, PageCount n) { return {a.value + n.bytes()}; }
  friend constexpr uint64_t operator-(Address a, Address b) { return a.value - b.value; }
};

// `bytes` rounded up to whole pages; nothing when that overflows 64 bits.
constexpr std::optional<uint64_t> page_align_up(uint64_t bytes) noexcept {
  if (bytes > std::numeric_limits<uint64_t>::max() - kPageMask) return std::nullopt;
  return (bytes + kPageMask) & ~kPageMask;
}

// The half-open range [start, end). Empty when start == end; never inverted when made by from().
struct Range {
  Address start;
  Address end;

  // [start, start + bytes), or nothing when the end would pass 2^64 - 1.
  static constexpr std::optional<Range> from(Address start, uint64_t bytes) noexcept {
    if (bytes > std::numeric_limits<uint64_t>::max() - start.value) return std::nullopt;
    return Range{start, start + bytes};
  }

  constexpr uint64_t bytes() const noexcept { return end - start; }
  constexpr PageCount pages() const noexcept { return {bytes() >> kPageShift}; }
  constexpr bool empty() const noexcept { return start >= end; }
  constexpr bool contains(Address a) const noexcept { return start <= a && a < end; }
  constexpr bool contains(Range r) const noexcept { return start <= r.start && r.end <= end; }
  constexpr bool intersects(Range r) const noexcept { return start < r.end && r.start < end; }
  constexpr Range intersection(Range r) const noexcept {
    return {start < r.start ? r.start : start, end < r.end ? end : r.end};
  }
  friend constexpr bool operator==(Range, Range) = default;
};

}  // namespace pervma

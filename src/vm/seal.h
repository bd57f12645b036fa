// seal.h: mseal, and the naming of anonymous memory.
#pragma once

#include <algorithm>

#include "vm/advise.h"

namespace pervma {

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::seal(Address start, uint64_t length,
                                        const std::stop_token& stop) {
  const Result<Range> range = checked_advice_range(start, length);
  if (!range) return std::unexpected(range.error());
  if (range->empty()) return {};
  std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
  if (!write) return std::unexpected(Error::intr);
  mm_.assert_held_write();
  // Nothing is sealed when anything is missing.
  for (Address at = range->start; at < range->end;) {
    const VmaT* v = vma_at(at);
    if (v == nullptr) return std::unexpected(Error::nomem);
    at = v->end();
  }
  return for_each_part(*range, [this](VmaT& v, Range part) {
    mm_.assert_held_write();
    return change_flags(v, part, v.flags() | VmaFlag::sealed, v.name);
  });
}

// What Linux takes for a name: printable, shorter than 80 bytes, and nothing that could confuse who
// parses /proc/PID/maps.
inline bool is_valid_name(std::string_view name) noexcept {
  constexpr size_t kLongest = 79;
  return name.size() <= kLongest && std::ranges::all_of(name, [](char c) {
           return c >= ' ' && c <= '~' &&
                  std::string_view("\\`$[]").find(c) == std::string_view::npos;
         });
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::set_name(Address start, uint64_t length, std::string_view name,
                                            const std::stop_token& stop) {
  if (options_.anon_names == AnonNames::refused || !is_valid_name(name)) {
    return std::unexpected(Error::inval);
  }
  const Result<Range> range = checked_advice_range(start, length);
  if (!range) return std::unexpected(range.error());
  if (range->empty()) return {};
  const char* shown = nullptr;
  if (!name.empty()) {
    shown = context_.intern(name);
    if (shown == nullptr) return std::unexpected(Error::nomem);
  }
  std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
  if (!write) return std::unexpected(Error::intr);
  mm_.assert_held_write();
  return for_each_part(*range, [this, shown](VmaT& v, Range part) -> Result<void> {
    mm_.assert_held_write();
    if (!v.is_anonymous() || v.flags().has(VmaFlag::special)) return std::unexpected(Error::badf);
    Result<void> done = change_flags(v, part, v.flags(), shown);
    if (!done) return std::unexpected(Error::again);
    return done;
  });
}

}  // namespace pervma

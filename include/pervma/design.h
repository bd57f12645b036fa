// design.h: the lock designs that an address space can be made with. All are in one binary.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pervma {

enum class Design : uint8_t {
  mmap_lock,  // no VMA lock: every fault takes the mmap lock for read
  refcount,   // a 4-byte reader count in every VMA; the default
};

inline constexpr std::array kDesigns{Design::mmap_lock, Design::refcount};

constexpr std::string_view design_name(Design d) noexcept {
  return d == Design::mmap_lock ? "mmap_lock" : "refcount";
}

constexpr std::optional<Design> design_from_name(std::string_view name) noexcept {
  for (Design d : kDesigns) {
    if (design_name(d) == name) return d;
  }
  return std::nullopt;
}

}  // namespace pervma

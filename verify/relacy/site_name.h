// site_name.h: sites by name, for the command line. The compiler knows the enumerators' names.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

#include "sync/site.h"

namespace pervma::verify {

inline constexpr size_t kMaxSites = 512;

namespace detail {

// g++: "... [with pervma::Site S = pervma::Site::vma_enter; ...]"; no enumerator:
// "(pervma::Site)9".
template <Site S>
constexpr std::string_view enumerator() {
  const std::string_view all = __PRETTY_FUNCTION__;
  const size_t at = all.find("S = pervma::Site::");
  if (at == std::string_view::npos) return {};
  const std::string_view tail = all.substr(at + sizeof("S = pervma::Site::") - 1);
  return tail.substr(0, tail.find_first_of(";]"));
}

template <size_t... kIndex>
constexpr auto all_names(std::index_sequence<kIndex...>) {
  return std::array<std::string_view, sizeof...(kIndex)>{enumerator<Site{kIndex}>()...};
}

}  // namespace detail

inline constexpr auto kSiteNames = detail::all_names(std::make_index_sequence<kMaxSites>());
static_assert(kSiteNames[kMaxSites - 1].empty(), "kMaxSites is too small");

inline std::optional<Site> site_by_name(std::string_view name) {
  for (size_t i = 0; i < kMaxSites; ++i) {
    if (!kSiteNames[i].empty() && kSiteNames[i] == name) return static_cast<Site>(i);
  }
  return std::nullopt;
}

}  // namespace pervma::verify

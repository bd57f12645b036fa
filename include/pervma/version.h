// version.h: the version of these headers and of the library that was linked. CMake reads the
// number from here.
#pragma once

#include <string_view>

namespace pervma {

inline constexpr std::string_view kVersion = "0.1.0";

// The version of the library; another one than kVersion when headers and library do not belong
// together. Safe from any thread.
[[nodiscard]] std::string_view version() noexcept;

}  // namespace pervma

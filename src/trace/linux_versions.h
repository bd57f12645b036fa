// linux_versions.h: where kernels older or newer than Linux 6.18, whose answers pervma gives, are
// known to answer otherwise. docs/linux-versions.md says the same in words; a test compares the
// two.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "trace/oracle_operation.h"

namespace pervma::trace {

struct LinuxVersion {
  unsigned major = 0;
  unsigned minor = 0;
  friend auto operator<=>(const LinuxVersion&, const LinuxVersion&) = default;
};

// What pervma is compared with.
inline constexpr LinuxVersion kComparedLinux{6, 18};

struct LinuxDifference {
  LinuxVersion since;  // kernels from this one on behave as pervma does; older ones do not
  OracleCall call;
  std::string_view what;  // what pervma does, as the document says it
};

std::span<const LinuxDifference> linux_differences() noexcept;

// "6.18.44-..." as 6.18; nothing when it does not begin so.
std::optional<LinuxVersion> linux_version(std::string_view release) noexcept;

// A difference in this call on this kernel may come from these; calls `f(const LinuxDifference&)`.
template <class F>
void for_each_known_difference(std::string_view release, OracleCall call, F f) {
  const std::optional<LinuxVersion> version = linux_version(release);
  if (!version) return;
  for (const LinuxDifference& d : linux_differences()) {
    if (d.call == call && *version < d.since) f(d);
  }
}

}  // namespace pervma::trace

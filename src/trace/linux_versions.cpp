#include "trace/linux_versions.h"

#include <array>

namespace pervma::trace {

namespace {

constexpr std::array kDifferences{
    LinuxDifference{{4, 17}, OracleCall::mmap, "MAP_FIXED_NOREPLACE is known"},
    LinuxDifference{{6, 7}, OracleCall::mmap, "MAP_STACK sets nh"},
    LinuxDifference{{6, 7},
                    OracleCall::mmap,
                    "unhinted private anonymous mappings of 2 MiB and more are aligned to it"},
    LinuxDifference{{6, 13}, OracleCall::mmap, "of these only multiples of 2 MiB are aligned"},
    LinuxDifference{{6, 11}, OracleCall::mmap, "MAP_DROPPABLE is known"},
    LinuxDifference{{5, 4}, OracleCall::madvise, "MADV_COLD and MADV_PAGEOUT are known"},
    LinuxDifference{{5, 14}, OracleCall::madvise, "MADV_POPULATE_READ and _WRITE are known"},
    LinuxDifference{{5, 18}, OracleCall::madvise, "MADV_DONTNEED_LOCKED is known"},
    LinuxDifference{{6, 1}, OracleCall::madvise, "MADV_COLLAPSE is known"},
    LinuxDifference{{6, 13}, OracleCall::madvise, "MADV_GUARD_INSTALL and _REMOVE are known"},
    LinuxDifference{{6, 15}, OracleCall::madvise, "guards can be put into file mappings"},
    LinuxDifference{{5, 7}, OracleCall::mremap, "MREMAP_DONTUNMAP is known"},
    LinuxDifference{{5, 13}, OracleCall::mremap, "MREMAP_DONTUNMAP takes shared and file mappings"},
    LinuxDifference{{6, 17}, OracleCall::mremap, "MREMAP_FIXED of equal length moves several VMAs"},
    LinuxDifference{{6, 10}, OracleCall::mseal, "mseal exists"},
    LinuxDifference{{6, 16},
                    OracleCall::mprotect,
                    "a range without an anon_vma joins its neighbour's, a fork's child excepted: "
                    "the side that has one is asked whether it has ancestors"},
};

}  // namespace

std::span<const LinuxDifference> linux_differences() noexcept { return kDifferences; }

namespace {

// Digits off the front of the text; false when there are none.
bool take_number(std::string_view& text, unsigned& value) noexcept {
  const size_t before = text.size();
  value = 0;
  while (!text.empty() && text[0] >= '0' && text[0] <= '9' && value < 100'000) {
    value = value * 10 + static_cast<unsigned>(text[0] - '0');
    text.remove_prefix(1);
  }
  return text.size() != before;
}

}  // namespace

std::optional<LinuxVersion> linux_version(std::string_view release) noexcept {
  LinuxVersion v;
  if (!take_number(release, v.major) || !release.starts_with('.')) return std::nullopt;
  release.remove_prefix(1);
  if (!take_number(release, v.minor)) return std::nullopt;
  return v;
}

}  // namespace pervma::trace

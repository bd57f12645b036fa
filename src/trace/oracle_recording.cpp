#include "trace/oracle_recording.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "trace/oracle_words.h"

namespace pervma::trace {

namespace {

bool is_recording(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  return std::ranges::any_of(std::array{".trace", ".trace.gz", ".trace.xz", ".trace.zst"},
                             [&](const char* end) { return name.ends_with(end); });
}

}  // namespace

TraceResult<std::vector<std::string>> find_oracle_recordings(
    const std::vector<std::string>& paths) {
  namespace fs = std::filesystem;
  std::vector<std::string> found;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!fs::is_directory(path, error)) {
      found.push_back(path);
      continue;
    }
    const size_t before = found.size();
    for (fs::recursive_directory_iterator it(path, error), end; !error && it != end;
         it.increment(error)) {
      if (is_recording(it->path())) found.push_back(it->path().string());
    }
    if (error) return std::unexpected(TraceError{path, 0, error.message()});
    if (found.size() == before) {
      return std::unexpected(TraceError{path, 0, "no recordings in this folder"});
    }
    std::sort(found.begin() + static_cast<std::ptrdiff_t>(before), found.end());
  }
  return found;
}

std::string to_string(const OracleVma& v, const OracleRecording& r) {
  std::string backing = "anon";
  const uint32_t index = v.backing.index;
  if (index >= OracleBacking::kFirstShared) {
    backing = fmt::format("s{}", index - OracleBacking::kFirstShared);
  } else if (index != OracleBacking::kAnonymous) {
    const size_t file = index - OracleBacking::kFirstFile;
    backing = file < r.files.size() ? r.files[file].name : "?";
  }
  const std::string offset = index == OracleBacking::kAnonymous ? "-" : fmt::format("{}", v.offset);
  const std::array<char, 4> perms = oracle_perms(v.flags);
  return fmt::format("{}-{} {} {} {} {}", v.start, v.end,
                     std::string_view(perms.data(), perms.size()), offset, backing,
                     oracle_flag_text(v.flags, v.told));
}

std::string oracle_head(const OracleSetup& setup, std::string_view header_fields) {
  std::string limits;
  if (setup.address_space >= 0) limits = fmt::format(" as={}", setup.address_space);
  if (setup.maps >= 0) limits += fmt::format(" maps={}", setup.maps);
  if (setup.user_faults >= 0) limits += fmt::format(" uffd={}", setup.user_faults);
  return fmt::format(
      "# pervma-oracle 1\nH window_pages={} brk={} memlock={}{} {}\nF A 64+0 11\nF B 20+291 83\n",
      kOracleWindowPages, setup.brk, setup.memlock, limits, header_fields);
}

}  // namespace pervma::trace

#include "tools/options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

namespace pervma::tools {

namespace {

// What is wrong with writing to this path, or empty.
std::string why_not_writable(const std::string& path) {
  namespace fs = std::filesystem;
  const auto refuse = [&](const std::string& why) {
    return fmt::format("{}: cannot be written: {}", path, why);
  };
  if (path.empty()) return "the name of the file is empty";
  if (path == "-") return {};
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) return refuse(std::strerror(EISDIR));
  // A file that is not there yet is made in its folder.
  std::string asked = path;
  if (!fs::exists(status)) {
    asked = fs::path(path).parent_path().string();
    if (asked.empty()) asked = ".";
    if (fs::exists(asked, error) && !fs::is_directory(asked, error)) {
      return refuse(std::strerror(ENOTDIR));
    }
  }
  if (::access(asked.c_str(), W_OK) != 0) return refuse(std::strerror(errno));
  return {};
}

}  // namespace

CLI::Option* add_json_option(CLI::App& cmd, std::string& path, const std::string& what) {
  return cmd.add_option("--json", path, what + "; - is standard output")->check(output_file());
}

CLI::Validator output_file() {
  return {[](std::string& path) { return why_not_writable(path); }, "FILE"};
}

CLI::Validator whole_number() {
  return {[](std::string& text) {
            uint64_t value = 0;
            const char* const end = text.data() + text.size();
            const auto [at, error] = std::from_chars(text.data(), end, value);
            if (error == std::errc() && at == end) return std::string();
            return fmt::format("'{}' is not a whole number below 2^64", text);
          },
          ""};
}

CLI::Validator seconds_from(double least, double most) {
  return {[=](std::string& text) {
            double value = 0;
            if (CLI::detail::lexical_cast(text, value) && value >= least && value <= most) {
              return std::string();
            }
            return fmt::format("Value {} not in range {} to {}", text, least, most);
          },
          fmt::format("in [{} - {}]", least, most)};
}

}  // namespace pervma::tools

#include "tools/output.h"

#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tools/commands.h"

namespace pervma::tools {

int bad_input(const std::string& message) {
  fmt::print(stderr, "pervma: {}\n", message);
  return kBadInput;
}

int write_json(const nlohmann::json& json, const std::string& path) {
  if (path == "-") {
    fmt::print("{}\n", json.dump(2));
    return kFine;
  }
  std::ofstream out(path);
  out << json.dump(2) << '\n';
  if (!out.flush()) return bad_input(path + ": cannot be written");
  return kFine;
}

}  // namespace pervma::tools

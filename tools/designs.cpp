#include "tools/designs.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

namespace pervma::tools {

std::string design_names() {
  std::string names;
  for (const Design d : kDesigns) {
    if (!names.empty()) names += ", ";
    names += design_name(d);
  }
  return names;
}

std::vector<Design> parse_designs(const std::string& list) {
  if (list == "all") return {kDesigns.begin(), kDesigns.end()};
  std::vector<Design> designs;
  std::istringstream in(list);
  for (std::string name; std::getline(in, name, ',');) {
    const std::optional<Design> design = design_from_name(name);
    if (!design) {
      throw CLI::ValidationError(
          "--design",
          fmt::format("there is no design '{}'; there are: {}, or all", name, design_names()));
    }
    if (std::ranges::find(designs, *design) == designs.end()) designs.push_back(*design);
  }
  if (designs.empty()) throw CLI::ValidationError("--design", "no design is named");
  return designs;
}

}  // namespace pervma::tools

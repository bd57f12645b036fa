// designs.h: a --design option: a list of names, or `all`.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "pervma/design.h"

namespace pervma::tools {

// "a, b, c": the designs that exist.
std::string design_names();

// Throws CLI::ValidationError with one line when a name is unknown or the list is empty.
std::vector<Design> parse_designs(const std::string& list);

}  // namespace pervma::tools

// output.h: what the subcommands have in common: JSON files, and the one line for bad input.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace pervma::tools {

// Prints "pervma: MESSAGE" on stderr; the exit status for it.
int bad_input(const std::string& message);

// Writes to the file, or to standard output for "-". The exit status: kFine, or that of
// bad_input().
int write_json(const nlohmann::json&, const std::string& path);

}  // namespace pervma::tools

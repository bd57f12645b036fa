// options.h: checks of option values that several subcommands have.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace pervma::tools {

// Adds --json FILE. Whether the file can be written is found out before the work, not after it, and
// what is in it stays until there is something to write.
CLI::Option* add_json_option(CLI::App& cmd, std::string& path, const std::string& what);

// A file that can be written; "-" is accepted, "" is not. Touches nothing.
CLI::Validator output_file();

// Digits alone, at most 2^64-1: a sign would wrap, and a larger number would be another one.
CLI::Validator whole_number();

// A number of seconds; "nan" is none.
CLI::Validator seconds_from(double least, double most);

}  // namespace pervma::tools

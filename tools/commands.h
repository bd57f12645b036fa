// commands.h: the subcommands of `pervma`. Each adds itself to the parser; run() gives the exit
// status.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace pervma::tools {

// Exit statuses: 0 all is well; 1 differences were found; 2 the input or the request is bad.
inline constexpr int kFine = 0;
inline constexpr int kDifferences = 1;
inline constexpr int kBadInput = 2;

// Set by the subcommand that was chosen.
using Action = std::function<int()>;

void add_replay_command(CLI::App& app, Action& action);
void add_maps_command(CLI::App& app, Action& action);
void add_oracle_command(CLI::App& app, Action& action);
void add_designs_command(CLI::App& app, Action& action);
void add_bench_command(CLI::App& app, Action& action);
void add_torture_command(CLI::App& app, Action& action);

}  // namespace pervma::tools

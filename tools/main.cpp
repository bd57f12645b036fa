// The `pervma` command.
#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "pervma/version.h"
#include "tools/commands.h"

// What still escapes is a failure to print; the process ends with it.
// NOLINTNEXTLINE(bugprone-exception-escape)
int main(int argc, char** argv) {
  using namespace pervma;
  CLI::App app{"pervma: Linux's address space, with per-VMA locks, as a library you can measure."};
  app.name("pervma");
  app.set_version_flag("--version", "pervma " + std::string(version()));
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  pervma replay traces/jvm-threads.txt.xz --design all --workers 2\n"
      "  pervma maps traces/redis-bgsave.txt.xz --at 2000\n"
      "  pervma bench lookup --peers\n"
      "  pervma torture --design all --seconds 30\n"
      "Each command has --help with examples of its own.");
  tools::Action action;
  tools::add_replay_command(app, action);
  tools::add_maps_command(app, action);
  tools::add_oracle_command(app, action);
  tools::add_designs_command(app, action);
  tools::add_bench_command(app, action);
  tools::add_torture_command(app, action);
  try {
    app.parse(argc, argv);
    return action();
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
    const bool names_nothing = argc > 1 && argv[1][0] != '-' && app.get_subcommands().empty();
    if (names_nothing) {
      fmt::print(stderr, "pervma: there is no command '{}'; see pervma --help\n", argv[1]);
    } else {
      fmt::print(stderr, "pervma: {}\n", e.what());
    }
    return tools::kBadInput;
  } catch (const std::exception& e) {
    fmt::print(stderr, "pervma: {}\n", e.what());
    return tools::kBadInput;
  }
}

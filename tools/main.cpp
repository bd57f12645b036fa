// The `pervma` command.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>

#include "pervma/version.h"
#include "tools/commands.h"
#include "tools/output.h"

namespace {

using namespace pervma;

// A file that is opened later must not become standard output. What is printed where it was closed
// fails, as it should: the descriptor is one to read.
void keep_standard_files() {
  for (const int fd : std::array{STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    if (::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) return;
  }
}

// The exit status, if all that was printed has arrived.
int printed(int status) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.flush()) return status;
  return tools::bad_input(std::string("standard output: cannot be written: ") +
                          std::strerror(errno));
}

// What to say of arguments that the parser refuses.
std::string explain(const CLI::App& app, const CLI::ParseError& e, int argc, char** argv) {
  if (e.get_name() != "RequiredError") return e.what();
  // The innermost command that was found, and the argument behind its name.
  const CLI::App* at = &app;
  std::string path = "pervma";
  int next = 1;
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().front();
    path += " " + at->get_name();
    ++next;
  }
  if (at->get_require_subcommand_min() == 0) return e.what();  // It lacks something else.
  if (next >= argc) return fmt::format("a subcommand is missing; see {} --help", path);
  const char* const kind = argv[next][0] == '-' ? "option" : "command";
  return fmt::format("there is no {} '{}'; see {} --help", kind, argv[next], path);
}

}  // namespace

// What still escapes is a failure to print; the process ends with it.
// NOLINTNEXTLINE(bugprone-exception-escape)
int main(int argc, char** argv) {
  keep_standard_files();
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
    return printed(action());
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return printed(app.exit(e));  // --help, --version
    return tools::bad_input(explain(app, e, argc, argv));
  } catch (const std::exception& e) {
    return tools::bad_input(e.what());
  }
}

// `pervma maps`: the map of each space at a point of a recording.
#include <fmt/format.h>

#include <cstdio>

#include "tools/commands.h"
#include "trace/dependencies.h"
#include "trace/replay.h"

namespace pervma::tools {

namespace {

struct Options {
  std::string trace;
  uint32_t at = 0;
  std::string json;
};

int run(const Options& options) {
  trace::TraceResult<trace::Recording> recording = trace::read_recording(options.trace);
  if (!recording) {
    fmt::print(stderr, "pervma: {}\n", recording.error().to_string());
    return kBadInput;
  }
  if (options.at > recording->lines) {
    fmt::print(stderr, "pervma: {}:{}: the recording has {} lines\n", options.trace, options.at,
               recording->lines);
    return kBadInput;
  }
  trace::TraceResult<trace::Script> script = trace::make_script(*recording);
  if (!script) {
    fmt::print(stderr, "pervma: {}\n", script.error().to_string());
    return kBadInput;
  }
  // Without a line: where the most was mapped, which is before the program tears it down.
  const auto text_of = [&](const trace::Stage& stage, uint64_t* count) {
    std::string text;
    for (trace::SpaceIndex s = 0; s < script->spaces.size(); ++s) {
      const AddressSpace* space = stage.space(s);
      if (space == nullptr) continue;
      *count += space->map_count();
      text += fmt::format("space {}\n{}", s, space->to_maps());
    }
    return text;
  };
  std::string shown;
  uint32_t shown_line = 0;
  uint64_t most = 0;
  const auto visit = [&](const trace::Op& op, const trace::Stage& stage) {
    if (options.at != 0 && op.line > options.at) return false;
    if (!op.writes_map) return true;
    uint64_t count = 0;
    if (options.at == 0) {
      for (trace::SpaceIndex s = 0; s < script->spaces.size(); ++s) {
        if (const AddressSpace* space = stage.space(s)) count += space->map_count();
      }
      if (count <= most) return true;
      most = count;
      count = 0;
    }
    shown = text_of(stage, &count);
    shown_line = op.line;
    return true;
  };
  if (!trace::find_dependencies(*script, *recording, visit)) {
    fmt::print(stderr, "pervma: {}: no memory to replay it\n", options.trace);
    return kBadInput;
  }
  if (options.at == 0) {
    fmt::print("{}: after line {}, where the most was mapped\n", options.trace, shown_line);
  } else {
    fmt::print("{}: at line {}\n", options.trace, options.at);
  }
  fmt::print("{}", shown);
  return kFine;
}

}  // namespace

void add_maps_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* cmd = app.add_subcommand(
      "maps", "Print the address spaces at a point of a recording, as /proc/PID/maps does");
  cmd->add_option("TRACE", options->trace, "A recording, as for replay")->required();
  cmd->add_option("--at", options->at,
                  "A line of the recording; without it, the moment with the most mappings");
  cmd->footer(
      "Examples:\n"
      "  pervma maps traces/redis-bgsave.txt.xz\n"
      "  pervma maps traces/jvm-threads.txt.xz --at 5000");
  cmd->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace pervma::tools

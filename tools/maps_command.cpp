// `pervma maps`: the map of each space at a point of a recording.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/commands.h"
#include "tools/options.h"
#include "tools/output.h"
#include "trace/dependencies.h"
#include "trace/replay.h"

namespace pervma::tools {

namespace {

struct Options {
  std::string trace;
  uint32_t at = 0;
  std::string json;
};

// One space of the recording as it was at the chosen point.
struct SpaceMap {
  trace::SpaceIndex space;
  std::vector<VmaInfo> vmas;
  std::string text;
};

std::vector<SpaceMap> maps_of(const trace::Stage& stage, size_t spaces) {
  std::vector<SpaceMap> maps;
  for (trace::SpaceIndex s = 0; s < spaces; ++s) {
    if (const AddressSpace* space = stage.space(s)) {
      maps.push_back({s, space->vmas(), space->to_maps()});
    }
  }
  return maps;
}

std::string perms_of(const VmaInfo& v) {
  return fmt::format(
      "{}{}{}{}", v.flags.has(VmaFlag::read) ? 'r' : '-', v.flags.has(VmaFlag::write) ? 'w' : '-',
      v.flags.has(VmaFlag::exec) ? 'x' : '-', v.flags.has(VmaFlag::may_share) ? 's' : 'p');
}

nlohmann::json to_json(uint32_t line, const std::vector<SpaceMap>& maps) {
  nlohmann::json all = nlohmann::json::array();
  for (const SpaceMap& m : maps) {
    nlohmann::json vmas = nlohmann::json::array();
    for (const VmaInfo& v : m.vmas) {
      vmas.push_back({{"start", v.range.start.value},
                      {"end", v.range.end.value},
                      {"perms", perms_of(v)},
                      {"offset", v.has_file ? v.page_offset << kPageShift : 0},
                      {"device", fmt::format("{:02x}:{:02x}", v.device_major, v.device_minor)},
                      {"inode", v.inode},
                      {"name", v.name}});
    }
    all.push_back({{"space", m.space}, {"line", line}, {"vmas", std::move(vmas)}});
  }
  return all;
}

int print_maps(const Options& options, uint32_t line, const std::vector<SpaceMap>& maps) {
  if (options.json != "-") {
    fmt::print("{}: line {}{}\n", options.trace, line,
               options.at == 0 ? ", after which the most was mapped" : "");
    for (const SpaceMap& m : maps) fmt::print("space {}\n{}", m.space, m.text);
  }
  return options.json.empty() ? kFine : write_json(to_json(line, maps), options.json);
}

int run(const Options& options) {
  trace::TraceResult<trace::Recording> recording = trace::read_recording(options.trace);
  if (!recording) return bad_input(recording.error().to_string());
  if (options.at > recording->lines) {
    return bad_input(fmt::format("{}:{}: the recording has {} lines", options.trace, options.at,
                                 recording->lines));
  }
  trace::TraceResult<trace::Script> script = trace::make_script(*recording);
  if (!script) return bad_input(script.error().to_string());

  // Without a line: where the most was mapped, which is before the program tears it down.
  std::vector<SpaceMap> shown;
  uint32_t shown_line = options.at;
  uint64_t most = 0;
  const auto visit = [&](const trace::Op& op, const trace::Stage& stage) {
    if (options.at != 0 && op.line > options.at) return false;
    if (!op.writes_map) return true;
    if (options.at == 0) {
      uint64_t count = 0;
      for (trace::SpaceIndex s = 0; s < script->spaces.size(); ++s) {
        if (const AddressSpace* space = stage.space(s)) count += space->map_count();
      }
      if (count <= most) return true;
      most = count;
      shown_line = op.line;
    }
    shown = maps_of(stage, script->spaces.size());
    return true;
  };
  if (!trace::find_dependencies(*script, *recording, visit)) {
    return bad_input(options.trace + ": no memory to replay it");
  }
  return print_maps(options, shown_line, shown);
}

}  // namespace

void add_maps_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* cmd = app.add_subcommand(
      "maps", "Print the address spaces at a point of a recording, as /proc/PID/maps does");
  cmd->add_option("TRACE", options->trace, "A recording, as for replay")->required();
  cmd->add_option("--at", options->at,
                  "A line of the recording; without it, the moment with the most mappings")
      ->check(CLI::Range(int64_t{1}, int64_t{UINT32_MAX}));
  add_json_option(*cmd, options->json, "Write the map to this file");
  cmd->footer(
      "Examples:\n"
      "  pervma maps traces/redis-bgsave.txt.xz\n"
      "  pervma maps traces/jvm-threads.txt.xz --at 5000");
  cmd->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace pervma::tools

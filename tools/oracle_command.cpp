// `pervma oracle`: compares pervma with what the Linux kernel answered, recorded or live.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tools/commands.h"
#include "tools/designs.h"
#include "tools/output.h"
#include "tools/progress_bar.h"
#include "trace/oracle_recorder.h"
#include "trace/oracle_run.h"

namespace pervma::tools {

namespace {

using trace::OracleMismatch;
using trace::OracleOutcome;
using trace::OracleRecording;
using trace::OracleRunner;

struct Options {
  std::vector<std::string> paths;
  std::string designs = "all";
  std::string json;
  bool stop_at_first = false;
  bool live = false;
  std::string seeds = "1..200";
  uint32_t ops = 300;
};

struct Totals {
  uint64_t recordings = 0;
  uint64_t operations = 0;
  uint64_t mismatches = 0;
  nlohmann::json list = nlohmann::json::array();
};

void print_mismatch(const std::string& file, Design design, const OracleMismatch& m) {
  fmt::print("{}:{}: ({})\n  Linux:  {}\n  pervma: {}\n", file, m.line, design_name(design),
             m.operation, m.what);
  fmt::print("  {:<60} | {}\n", "Linux's map there", "pervma's");
  for (size_t i = 0; i < std::max(m.linux_map.size(), m.pervma_map.size()); ++i) {
    fmt::print("  {:<60} | {}\n", i < m.linux_map.size() ? m.linux_map[i] : "",
               i < m.pervma_map.size() ? m.pervma_map[i] : "");
  }
}

// Runs one recording under each design. False: stop here.
bool run_one(const OracleRecording& recording, const std::string& file,
             std::vector<std::pair<Design, OracleRunner>>& runners, const Options& options,
             Totals& totals) {
  for (auto& [design, runner] : runners) {
    Result<OracleOutcome> outcome = runner.run(recording);
    if (!outcome) throw std::runtime_error(file + ": no memory to run it");
    ++totals.recordings;
    totals.operations += outcome->operations;
    if (outcome->mismatch == nullptr) continue;
    ++totals.mismatches;
    const OracleMismatch& m = *outcome->mismatch;
    if (options.json != "-") print_mismatch(file, design, m);
    totals.list.push_back({{"file", file},
                           {"line", m.line},
                           {"design", design_name(design)},
                           {"operation", m.operation},
                           {"pervma", m.what},
                           {"linux_map", m.linux_map},
                           {"pervma_map", m.pervma_map}});
    if (options.stop_at_first) return false;
  }
  return true;
}

int finish(const Options& options, const Totals& totals) {
  if (!options.json.empty()) {
    const nlohmann::json result = {{"recordings", totals.recordings},
                                   {"operations", totals.operations},
                                   {"mismatches", totals.mismatches},
                                   {"differences", totals.list}};
    if (const int status = write_json(result, options.json); status != kFine) return status;
  }
  if (options.json != "-") {
    fmt::print("oracle: {} recordings, {} operations, {} mismatches\n", totals.recordings,
               totals.operations, totals.mismatches);
  }
  return totals.mismatches == 0 ? kFine : kDifferences;
}

int run_recorded(const Options& options, std::vector<std::pair<Design, OracleRunner>>& runners) {
  trace::TraceResult<std::vector<std::string>> files = trace::find_oracle_recordings(options.paths);
  if (!files) return bad_input(files.error().to_string());
  // All are read before any is run: a file that is not whole is never counted as agreement.
  std::vector<OracleRecording> recordings;
  for (const std::string& file : *files) {
    trace::TraceResult<OracleRecording> r = trace::read_oracle_recording(file);
    if (!r) return bad_input(r.error().to_string());
    recordings.push_back(std::move(*r));
  }
  Totals totals;
  for (size_t i = 0; i < recordings.size(); ++i) {
    if (!run_one(recordings[i], (*files)[i], runners, options, totals)) break;
  }
  return finish(options, totals);
}

// "A..B" or "A".
std::pair<uint64_t, uint64_t> parse_seeds(const std::string& text) {
  const auto bad = [&] {
    return CLI::ValidationError("--seeds", "'" + text + "' is not A..B with A <= B");
  };
  try {
    size_t used = 0;
    const uint64_t first = std::stoull(text, &used);
    if (used == text.size()) return {first, first};
    if (text.substr(used, 2) != "..") throw bad();
    const std::string rest = text.substr(used + 2);
    const uint64_t last = std::stoull(rest, &used);
    if (used != rest.size() || last < first) throw bad();
    return {first, last};
  } catch (const std::logic_error&) {
    throw bad();
  }
}

int run_live(const Options& options, std::vector<std::pair<Design, OracleRunner>>& runners) {
  const auto [first, last] = parse_seeds(options.seeds);
  Totals totals;
  std::set<std::string> left_out;
  std::atomic<uint64_t> done{0};
  const ProgressBar bar("live", done, last - first + 1);
  for (uint64_t seed = first; seed <= last; ++seed) {
    Result<trace::LiveRecording> live = trace::record_live({.seed = seed, .ops = options.ops});
    if (!live) {
      return bad_input(
          live.error() == Error::perm
              ? "oracle --live: this kernel does not let a process arrange its "
                "address space for the comparison"
              : fmt::format("oracle --live: seed {}: the recording process failed", seed));
    }
    left_out.insert(live->left_out.begin(), live->left_out.end());
    const std::string name = fmt::format("live seed {}", seed);
    trace::TraceResult<OracleRecording> r =
        trace::parse_oracle_recording(name, std::move(live->text));
    if (!r) return bad_input(r.error().to_string());
    if (!run_one(*r, name, runners, options, totals)) break;
    done.fetch_add(1, std::memory_order_relaxed);
  }
  if (options.json != "-") {
    for (const std::string& what : left_out) fmt::print("{}\n", what);
  }
  return finish(options, totals);
}

int run(const Options& options) {
  std::vector<std::pair<Design, OracleRunner>> runners;
  for (const Design design : parse_designs(options.designs)) {
    Result<OracleRunner> runner = OracleRunner::create(design);
    if (!runner) return bad_input("no memory for an engine");
    runners.emplace_back(design, std::move(*runner));
  }
  if (options.live != options.paths.empty()) {
    throw CLI::ValidationError("oracle", "name recordings, or give --live: one of the two");
  }
  return options.live ? run_live(options, runners) : run_recorded(options, runners);
}

}  // namespace

void add_oracle_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* cmd = app.add_subcommand(
      "oracle", "Compare with what the Linux kernel answered, operation by operation");
  cmd->add_option("PATH", options->paths,
                  "Recordings, or folders of *.trace; plain, .gz, .xz or .zst");
  cmd->add_option("--design", options->designs,
                  "Designs, separated by commas, or all: " + design_names())
      ->capture_default_str();
  cmd->add_flag("--live", options->live, "Compare with the kernel that this runs on");
  cmd->add_option("--seeds", options->seeds, "With --live: random sequences A..B")
      ->capture_default_str();
  cmd->add_option("--ops", options->ops, "With --live: operations of each sequence")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  cmd->add_flag("--stop-at-first", options->stop_at_first, "Stop at the first difference");
  cmd->add_option("--json", options->json,
                  "Write the differences to this file; - is standard output");
  cmd->footer(
      "A recording ends at its first difference: what follows would differ for that alone.\n"
      "Exit status: 0 no difference, 1 differences, 2 bad input.\n"
      "Examples:\n"
      "  pervma oracle tests/oracle/directed\n"
      "  pervma oracle --live --seeds 1..200 --ops 300 --design refcount");
  cmd->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace pervma::tools

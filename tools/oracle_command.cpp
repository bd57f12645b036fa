// `pervma oracle`: compares pervma with what the Linux kernel answered, recorded or live.
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tools/commands.h"
#include "tools/designs.h"
#include "tools/interrupt.h"
#include "tools/options.h"
#include "tools/output.h"
#include "tools/progress_bar.h"
#include "trace/linux_versions.h"
#include "trace/oracle_minimise.h"
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
  std::string vma_free = "at_once";
  bool bare = false;
  bool stopped = false;
  std::string json;
  std::string record;
  std::string out;
  bool stop_at_first = false;
  bool minimise = false;
  bool live = false;
  std::string seeds;  // empty: 1..200; to record, 1
  uint32_t ops = 300;
  std::string shape = "mixed";

  trace::LiveOptions live_options(uint64_t seed) const {
    const auto known = std::ranges::find(trace::kOracleShapes, shape);
    return {.seed = seed,
            .ops = ops,
            .shape = static_cast<trace::OracleShape>(known - std::begin(trace::kOracleShapes))};
  }
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

// Kernels that are not 6.18 differ in known ways: which of them it may be.
nlohmann::json known_differences(const OracleRecording& recording, const OracleMismatch& m,
                                 const Options& options) {
  nlohmann::json list = nlohmann::json::array();
  trace::for_each_known_difference(
      recording.kernel, recording.ops[m.index].call, [&](const trace::LinuxDifference& d) {
        list.push_back(d.what);
        if (options.json == "-") return;
        fmt::print("  known (docs/linux-versions.md), since Linux {}.{}: {}\n", d.since.major,
                   d.since.minor, d.what);
      });
  return list;
}

bool write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  return !file.fail();
}

// "live seed 7" -> "live-seed-7.minimal.trace", "a/b.trace.gz" -> "b.minimal.trace".
std::string minimal_name(const std::string& file) {
  std::string name = std::filesystem::path(file).filename().string();
  if (const size_t end = name.find(".trace"); end != std::string::npos) name.resize(end);
  std::ranges::replace(name, ' ', '-');
  return name + ".minimal.trace";
}

// Writes the shortest scenario that has the difference. Its path.
std::string minimise(const OracleRecording& recording, const std::string& file,
                     OracleRunner& runner, const OracleMismatch& m, const Options& options) {
  const Result<trace::Minimised> small = trace::minimise_recording(runner, recording, m.index);
  if (!small) throw std::runtime_error(file + ": no memory to minimise it");
  const std::string path = options.out.empty() ? minimal_name(file) : options.out;
  if (!write_text(path, small->text)) throw std::runtime_error(path + ": cannot be written");
  if (options.json != "-") {
    fmt::print("  minimised: {} of {} operations, {} tries, {}: {}\n", small->operations,
               m.index + 1, small->tries,
               small->answers == trace::AnswersOf::running_kernel
                   ? "answered by the running kernel"
                   : "the answer of the last one as recorded",
               path);
  }
  return path;
}

// Runs one recording under each design. False: stop here.
bool run_one(const OracleRecording& recording, const std::string& file,
             std::vector<std::pair<Design, OracleRunner>>& runners, const Options& options,
             Totals& totals) {
  bool minimised = false;  // One scenario is enough for all designs.
  for (auto& [design, runner] : runners) {
    Result<OracleOutcome> outcome = runner.run(recording);
    if (!outcome) throw std::runtime_error(file + ": no memory to run it");
    ++totals.recordings;
    totals.operations += outcome->operations;
    if (outcome->mismatch == nullptr) continue;
    ++totals.mismatches;
    const OracleMismatch& m = *outcome->mismatch;
    if (options.json != "-") print_mismatch(file, design, m);
    nlohmann::json known = known_differences(recording, m, options);
    std::string small;
    if (options.minimise && !minimised) small = minimise(recording, file, runner, m, options);
    minimised = true;
    totals.list.push_back({{"file", file},
                           {"line", m.line},
                           {"design", design_name(design)},
                           {"operation", m.operation},
                           {"pervma", m.what},
                           {"linux_map", m.linux_map},
                           {"pervma_map", m.pervma_map},
                           {"known", std::move(known)},
                           {"minimised", small}});
    if (options.stop_at_first) return false;
  }
  return true;
}

int finish(const Options& options, const Totals& totals, const InterruptWatch& watch) {
  if (options.json != "-") {
    fmt::print("oracle: {} recordings, {} operations, {} mismatches\n", totals.recordings,
               totals.operations, totals.mismatches);
  }
  if (!options.json.empty()) {
    const nlohmann::json result = {{"recordings", totals.recordings},
                                   {"operations", totals.operations},
                                   {"mismatches", totals.mismatches},
                                   {"differences", totals.list}};
    if (const int status = write_json(result, options.json); status != kFine) return status;
  }
  return watch.status(totals.mismatches == 0 ? kFine : kDifferences);
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
  const InterruptWatch watch;
  for (size_t i = 0; i < recordings.size() && !watch.interrupted(); ++i) {
    if (!run_one(recordings[i], (*files)[i], runners, options, totals)) break;
  }
  return finish(options, totals, watch);
}

// "A..B" or "A".
std::pair<uint64_t, uint64_t> parse_seeds(const std::string& text) {
  const char* const end = text.data() + text.size();
  uint64_t first = 0;
  uint64_t last = 0;
  const auto [dots, bad_first] = std::from_chars(text.data(), end, first);
  if (bad_first == std::errc() && dots == end) return {first, first};
  if (bad_first == std::errc() && std::string_view(dots, end).starts_with("..")) {
    const auto [at, bad_last] = std::from_chars(dots + 2, end, last);
    if (bad_last == std::errc() && at == end && first <= last) return {first, last};
  }
  throw CLI::ValidationError("--seeds", "'" + text + "' is not A..B with A <= B");
}

int live_failed(Error error, uint64_t seed) {
  return bad_input(error == Error::perm
                       ? "oracle --live: this kernel does not let a process arrange its "
                         "address space for the comparison"
                       : fmt::format("oracle --live: seed {}: the recording process failed", seed));
}

// Writes a random sequence with the running kernel's answers.
int run_record_live(const Options& options) {
  const auto [seed, last] = parse_seeds(options.seeds.empty() ? "1" : options.seeds);
  if (seed != last) throw CLI::ValidationError("--record", "name one seed, as in --seeds 7");
  const Result<trace::LiveRecording> live = trace::record_live(options.live_options(seed));
  if (!live) return live_failed(live.error(), seed);
  if (!write_text(options.record, live->text)) {
    return bad_input(options.record + ": cannot be written");
  }
  fmt::print("{}: {} operations recorded\n", options.record, options.ops);
  return kFine;
}

// Executes a scenario's operations on the running kernel and writes its answers.
int run_record(const Options& options) {
  if (options.live) return run_record_live(options);
  if (options.paths.size() != 1) {
    throw CLI::ValidationError("--record", "name one scenario whose operations are to be recorded");
  }
  trace::TraceResult<OracleRecording> r = trace::read_oracle_recording(options.paths[0]);
  if (!r) return bad_input(r.error().to_string());
  for (const trace::OracleOp& op : r->ops) {
    if (is_safe_to_record(op)) continue;
    return bad_input(fmt::format("{}:{}: this could reach outside of the window: {}",
                                 options.paths[0], op.line, r->text_of(op)));
  }
  const std::vector<trace::OracleOperation> operations(r->ops.begin(), r->ops.end());
  const Result<trace::LiveRecording> live = trace::record_operations(r->setup, operations);
  if (!live) {
    return bad_input(live.error() == Error::io
                         ? options.paths[0] + ": the recording process failed"
                         : options.paths[0] + ": this kernel does not let it be recorded here");
  }
  if (!write_text(options.record, live->text)) {
    return bad_input(options.record + ": cannot be written");
  }
  fmt::print("{}: {} operations recorded\n", options.record, operations.size());
  return kFine;
}

int run_live(const Options& options, std::vector<std::pair<Design, OracleRunner>>& runners) {
  const auto [first, last] = parse_seeds(options.seeds.empty() ? "1..200" : options.seeds);
  Totals totals;
  std::set<std::string> left_out;
  std::atomic<uint64_t> done{0};
  const ProgressBar bar("live", done, last - first + 1);
  const InterruptWatch watch;
  for (uint64_t seed = first; !watch.interrupted(); ++seed) {
    Result<trace::LiveRecording> live = trace::record_live(options.live_options(seed));
    if (!live && watch.interrupted()) break;  // The recording process was interrupted as well.
    if (!live) return live_failed(live.error(), seed);
    left_out.insert(live->left_out.begin(), live->left_out.end());
    const std::string name = fmt::format("live seed {}", seed);
    trace::TraceResult<OracleRecording> r =
        trace::parse_oracle_recording(name, std::move(live->text));
    if (!r) return bad_input(r.error().to_string());
    if (!run_one(*r, name, runners, options, totals)) break;
    done.fetch_add(1, std::memory_order_relaxed);
    if (seed == last) break;
  }
  if (options.json != "-") {
    for (const std::string& what : left_out) fmt::print("{}\n", what);
  }
  return finish(options, totals, watch);
}

// Those that are named; of all designs, those that can free VMAs in this way.
std::vector<Design> designs_of(const Options& options, VmaFree vma_free) {
  std::vector<Design> designs = parse_designs(options.designs);
  const auto lacks_it = [&](Design d) {
    return vma_free != VmaFree::at_once && !design_info(d).frees_by_rcu;
  };
  if (options.designs == "all") std::erase_if(designs, lacks_it);
  for (const Design d : designs) {
    if (!lacks_it(d)) continue;
    throw CLI::ValidationError(
        "--vma-free", fmt::format("the design {} frees VMAs at_once only", design_name(d)));
  }
  return designs;
}

int run(const Options& options) {
  if (!options.record.empty()) return run_record(options);
  const VmaFree vma_free = *std::ranges::find(kVmaFrees, options.vma_free, vma_free_name);
  std::vector<std::pair<Design, OracleRunner>> runners;
  for (const Design design : designs_of(options, vma_free)) {
    Result<OracleRunner> runner =
        OracleRunner::create(design, {vma_free, options.bare, options.stopped});
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
  cmd->add_option("--vma-free", options->vma_free,
                  "When a VMA's memory is used again: at_once; or rcu or rcu_batched, which the "
                  "designs rwsem, rwsem_split and count have")
      ->check(CLI::IsMember({"at_once", "rcu", "rcu_batched"}))
      ->capture_default_str();
  cmd->add_flag("--bare", options->bare,
                "pervma's space ends where the window does, instead of mappings all around it");
  cmd->add_flag("--stopped", options->stopped,
                "Each operation is first called with a stop requested, which may change nothing");
  cmd->add_flag("--live", options->live, "Compare with the kernel that this runs on");
  cmd->add_option("--seeds", options->seeds,
                  "With --live: random sequences A..B; without it 1..200, and with --record 1")
      ->needs("--live");
  cmd->add_option("--ops", options->ops, "With --live: operations of each sequence")
      ->check(CLI::Range(1, 100'000))
      ->needs("--live")
      ->capture_default_str();
  cmd->add_option("--shape", options->shape,
                  "With --live: mixed: everything, most of it as it is common; wide: what is "
                  "rare: every right, unknown bits, stacks, moves of several VMAs, duplicates; "
                  "user_faults: a userfaultfd's registrations and pages")
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(trace::kOracleShapes),
                                                     std::end(trace::kOracleShapes))))
      ->needs("--live")
      ->capture_default_str();
  cmd->add_flag("--stop-at-first", options->stop_at_first, "Stop at the first difference");
  cmd->add_flag(
      "--minimise", options->minimise,
      "Write the shortest scenario that has a recording's difference to NAME.minimal.trace");
  cmd->add_option("--out", options->out, "With --minimise: where to write the scenario")
      ->check(output_file())
      ->needs("--minimise");
  add_json_option(*cmd, options->json, "Write the differences to this file");
  CLI::Option* record = cmd->add_option(
      "--record", options->record,
      "Execute the operations of PATH, a scenario, on the running kernel, and write its "
      "answers to this file");
  record->check(output_file());
  for (const char* other : {"--design", "--vma-free", "--bare", "--stopped", "--stop-at-first",
                            "--minimise", "--json"}) {
    record->excludes(other);
  }
  cmd->footer(
      "A recording ends at its first difference: what follows would differ for that alone.\n"
      "docs/oracle.md says how to read one, and how to add a scenario.\n"
      "Exit status: 0 no difference, 1 differences, 2 bad input, 130 interrupted (what was "
      "compared is told).\n"
      "Examples:\n"
      "  pervma oracle tests/trace/oracle\n"
      "  pervma oracle --live --seeds 1..200 --ops 300 --design refcount\n"
      "  pervma oracle --live --seeds 1..200 --shape wide\n"
      "  pervma oracle tests/trace/oracle --vma-free rcu_batched\n"
      "  pervma oracle tests/trace/oracle --bare --stopped\n"
      "  pervma oracle failing.trace --stop-at-first --minimise --out small.trace\n"
      "  pervma oracle new.trace --record tests/trace/oracle/new.trace");
  cmd->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace pervma::tools

// `pervma bench`: microbenchmarks, each beside the limits of the machine, measured in the same run.
#include <fmt/format.h>

#include <atomic>
#include <map>
#include <nlohmann/json.hpp>

#include "bench/churn.h"
#include "bench/faults.h"
#include "bench/fork.h"
#include "bench/free.h"
#include "bench/hot.h"
#include "bench/lookup.h"
#include "bench/machine.h"
#include "bench/memory.h"
#include "bench/spike.h"
#include "bench/swap.h"
#include "bench/syscalls.h"
#include "bench/tree.h"
#include "bench/zerocopy.h"
#include "tools/bench_output.h"
#include "tools/commands.h"
#include "tools/designs.h"
#include "tools/options.h"
#include "tools/output.h"
#include "tools/progress_bar.h"

namespace pervma::tools {

namespace {

using bench::BenchOptions;
using bench::BenchResult;
using bench::BenchRow;

struct Options {
  BenchOptions bench;
  std::string designs = "all";
  bool peers = false;
  std::string peer;
  std::string json;
  std::string compare;
};

// What a benchmark can be asked for, besides designs, ranges and repeats.
enum Asks : unsigned { kThreads = 1, kPick = 2, kPeers = 4, kSeconds = 8, kKernel = 16 };

// One benchmark as the command line knows it.
struct Scenario {
  const char* name;
  const char* help;
  const char* example;
  BenchResult (*run)(const BenchOptions&);
  unsigned asks;
  uint64_t ranges = 1000;
  uint32_t repeats = 10;
  unsigned least_threads = 1;
  const char* threads_help = "Threads; a list";
};

constexpr Scenario kScenarios[] = {
    {"lookup", "Find the range of an address, keep it from changing, let it go",
     "pervma bench lookup --ranges 1000,65000 --threads 1,2 --pick uniform,distinct --peers",
     bench::bench_lookup, kThreads | kPick | kPeers | kSeconds},
    {"churn", "Readers beside a writer that maps and unmaps, elsewhere and next door",
     "pervma bench churn --peers --json churn.json", bench::bench_churn,
     kThreads | kPeers | kSeconds, 1000, 10, 1, "Readers; a list"},
    {"hot", "Everybody on one range", "pervma bench hot --threads 1,2 --repeats 20",
     bench::bench_hot, kThreads | kPeers | kSeconds},
    {"spike", "Threads start all at once: each maps a stack and a TLS area and touches them",
     "pervma bench spike --threads 1,2,4", bench::bench_spike, kThreads | kSeconds},
    {"tree", "The data structures alone: store, erase, walk, gaps, insert and erase",
     "pervma bench tree --ranges 65000 --peers", bench::bench_tree, kThreads | kPeers | kSeconds},
    {"syscalls", "Mapping operations beside the system calls that they stand for",
     "pervma bench syscalls --ranges 100,10000 --design refcount", bench::bench_syscalls, kSeconds},
    {"memory", "Bytes per range, all included", "pervma bench memory --peers --json -",
     bench::bench_memory, kPeers, 65000, 1},
    {"free", "Be rid of many VMAs: munmap and exit",
     "pervma bench free --ranges 50000 --repeats 20", bench::bench_free, kSeconds, 50000},
    {"faults", "Page faults of anonymous memory, beside real ones with --peer kernel",
     "pervma bench faults --peer kernel --threads 1,2", bench::bench_faults,
     kThreads | kKernel | kSeconds},
    {"fork", "Duplicate a map of so many VMAs, ten written pages each",
     "pervma bench fork --peer kernel --design refcount", bench::bench_fork, kKernel | kSeconds,
     10000, 5},
    {"swap", "A working set of so many pages in a quarter of the memory, by the page store",
     "pervma bench swap --ranges 4000 --threads 1,2 --design refcount", bench::bench_swap,
     kThreads | kSeconds, 4000, 3},
    {"zerocopy", "All threads but one insert pages into their mappings, one madvises",
     "pervma bench zerocopy --threads 2,4", bench::bench_zerocopy, kThreads | kSeconds, 1000, 10, 2,
     "Threads, the adviser included; a list"},
};

int run(const Scenario& scenario, Options& options) {
  options.bench.designs = parse_designs(options.designs);
  options.bench.peers =
      options.peers || !options.peer.empty() ? bench::Peers::measured : bench::Peers::left_out;
  // Before the work: a file that cannot be used must not cost minutes.
  std::vector<BenchRow> before;
  if (!options.compare.empty()) before = read_bench_json(options.compare);
  const bench::CoreWatch watch;
  std::atomic<uint64_t> done{0};
  std::atomic<uint64_t> planned{0};
  options.bench.run.progress = &done;
  options.bench.run.planned = &planned;
  const BenchResult rows = [&] {
    const ProgressBar bar(scenario.name, done, planned);
    return scenario.run(options.bench);
  }();
  if (!rows) {
    fmt::print(stderr, "pervma: {}\n", rows.error());
    return kDifferences;
  }
  const BenchRun this_run{.machine = bench::machine_in_short(),
                          .others_pct = 100 * watch.taken_by_others()};
  if (options.json != "-") {
    print_bench_rows(*rows);
    if (!before.empty()) print_bench_comparison(before, *rows);
    print_bench_run(this_run);
  }
  return options.json.empty() ? kFine : write_json(bench_json(*rows, this_run), options.json);
}

// Takes the names of bench::Pick.
CLI::Validator pick_by_name() {
  return {[](std::string& name) {
            constexpr std::pair<const char*, bench::Pick> kNames[] = {
                {"uniform", bench::Pick::uniform},
                {"zipf", bench::Pick::zipf},
                {"distinct", bench::Pick::distinct}};
            for (const auto& [known, pick] : kNames) {
              if (name != known) continue;
              name = std::to_string(static_cast<int>(pick));
              return std::string();
            }
            return fmt::format("there is no '{}'; there are: uniform, zipf, distinct", name);
          },
          ""};
}

void add_timing_options(CLI::App& cmd, Options& o) {
  cmd.add_option("--repeats,--repeat", o.bench.run.repeats, "Repeats; subjects take turns")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  cmd.add_option("--seconds,--duration", o.bench.run.seconds, "Of each subject, per repeat")
      ->check(seconds_from(0.0005, 600))
      ->capture_default_str();
  cmd.add_option("--seed", o.bench.run.seed, "Of the order in which ranges are picked")
      ->check(whole_number())
      ->capture_default_str();
}

void add_options(CLI::App& cmd, const Scenario& scenario, Options& o) {
  o.bench.ranges = {scenario.ranges};
  o.bench.run.repeats = scenario.repeats;
  std::erase_if(o.bench.threads, [&](unsigned n) { return n < scenario.least_threads; });
  cmd.add_option("--design", o.designs, "Designs, separated by commas, or all: " + design_names())
      ->capture_default_str();
  if ((scenario.asks & kPeers) != 0) {
    cmd.add_flag("--peers", o.peers,
                 "Measure what people use today, too, as far as it is built in");
  }
  if ((scenario.asks & kKernel) != 0) {
    cmd.add_option("--peer", o.peer, "kernel: measure the same on real memory of this process, too")
        ->check(CLI::IsMember({"kernel"}));
  }
  cmd.add_option("--ranges", o.bench.ranges, "Ranges of one page, with gaps of one page; a list")
      ->delimiter(',')
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  if ((scenario.asks & kThreads) != 0) {
    cmd.add_option("--threads", o.bench.threads, scenario.threads_help)
        ->delimiter(',')
        ->check(CLI::Range(scenario.least_threads, 64U))
        ->capture_default_str();
  }
  if ((scenario.asks & kPick) != 0) {
    cmd.add_option("--pick", o.bench.picks,
                   "How ranges are picked: uniform, zipf, distinct (each thread its own); a list")
        ->delimiter(',')
        ->transform(pick_by_name());
  }
  if ((scenario.asks & kSeconds) != 0) add_timing_options(cmd, o);
  add_json_option(cmd, o.json, "Write the rows to this file");
  cmd.add_option("--compare", o.compare, "Print ratios to the rows of this JSON of an earlier run");
  cmd.footer(fmt::format(
      "Exit status: 0 measured, 1 a subject gave a wrong answer or there is no memory, 2 bad "
      "input.\nExample:\n  {}",
      scenario.example));
}

int print_machine(const std::string& json) {
  if (json.empty()) {
    for (const auto& [name, value] : bench::describe_machine()) fmt::print("{}: {}\n", name, value);
    return kFine;
  }
  nlohmann::json all;
  for (const auto& [name, value] : bench::describe_machine()) all[name] = value;
  all["slug"] = bench::machine_slug();
  return write_json(all, json);
}

}  // namespace

void add_bench_command(CLI::App& app, Action& action) {
  CLI::App* cmd = app.add_subcommand("bench", "Measure, beside what the machine itself costs");
  cmd->require_subcommand(1);
  for (const Scenario& scenario : kScenarios) {
    auto options = std::make_shared<Options>();
    CLI::App* sub = cmd->add_subcommand(scenario.name, scenario.help);
    add_options(*sub, scenario, *options);
    sub->callback([&scenario, options, &action] {
      action = [&scenario, options] { return run(scenario, *options); };
    });
  }
  auto json = std::make_shared<std::string>();
  CLI::App* machine = cmd->add_subcommand("machine", "Describe what it is measured on");
  add_json_option(*machine, *json, "Write it to this file");
  machine->footer("Example:\n  pervma bench machine --json machine.json");
  machine->callback([json, &action] { action = [json] { return print_machine(*json); }; });
  cmd->footer("Examples:\n  pervma bench lookup --peers\n  pervma bench hot --threads 1,2");
}

}  // namespace pervma::tools

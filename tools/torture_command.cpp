// `pervma torture`: every operation by many threads at once, with what must hold as assertions.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <thread>

#include "bench/torture/torture.h"
#include "tools/commands.h"
#include "tools/designs.h"
#include "tools/interrupt.h"
#include "tools/options.h"
#include "tools/output.h"

namespace pervma::tools {

namespace {

using torture::Broken;
using torture::TortureOptions;
using torture::TortureResult;

struct Options {
  TortureOptions torture;
  std::string designs = "all";
  std::string json;
};

// A line on stderr: over and over on a terminal, every ten seconds elsewhere.
class ProgressLine {
 public:
  ProgressLine(Design design, double seconds, const std::atomic<uint64_t>& operations)
      : thread_([=, &operations](const std::stop_token& stop) {
          const bool terminal = isatty(STDERR_FILENO) != 0;
          for (unsigned tenths = 1; !stop.stop_requested(); ++tenths) {
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
            if (tenths % (terminal ? 5 : 100) != 0) continue;
            fmt::print(stderr, "{}torture {}: {:.0f} of {:.0f} s, {} operations{}",
                       terminal ? "\r" : "", design_name(design), tenths / 10.0, seconds,
                       operations.load(std::memory_order_relaxed), terminal ? "" : "\n");
            std::fflush(stderr);
          }
          if (terminal) fmt::print(stderr, "\r\033[K");
        }) {}

 private:
  std::jthread thread_;
};

void print_summary(Design design, const TortureResult& r, const TortureOptions& options) {
  fmt::print("{}: {} operations by {} threads in {} spaces, seed {}: {}\n", design_name(design),
             r.operations, options.threads, r.rounds, options.seed,
             r.violation ? "VIOLATED" : "no violation");
  fmt::print(
      "  faults: success {}, abort {}, retry {}, miss {}; mmap lock: read {}, write {}, "
      "waited {:.1f} ms\n",
      r.faults.success, r.faults.abort, r.faults.retry, r.faults.miss, r.mmap_lock.read,
      r.mmap_lock.write, static_cast<double>(r.mmap_lock.wait_ns) * 1e-6);
  std::string line = " ";
  for (const auto& [what, n] : r.counts) {
    const std::string item = fmt::format(" {} {};", what, n);
    if (line.size() + item.size() > 110) {
      fmt::print("{}\n", line);
      line = " ";
    }
    line += item;
  }
  fmt::print("{}\n", line);
  if (r.violation) fmt::print("  violation: {}\n", *r.violation);
  std::fflush(stdout);
}

nlohmann::json to_json(Design design, const TortureResult& r, const TortureOptions& options) {
  return {{"design", design_name(design)},
          {"threads", options.threads},
          {"seconds", options.seconds},
          {"seed", options.seed},
          {"rounds", r.rounds},
          {"operations", r.operations},
          {"faults",
           {{"success", r.faults.success},
            {"abort", r.faults.abort},
            {"retry", r.faults.retry},
            {"miss", r.faults.miss}}},
          {"mmap_lock",
           {{"read", r.mmap_lock.read},
            {"write", r.mmap_lock.write},
            {"wait_ns", r.mmap_lock.wait_ns}}},
          {"counts", r.counts},
          {"violation", r.violation ? nlohmann::json(*r.violation) : nlohmann::json()}};
}

int run(Options& options) {
  const std::vector<Design> designs = parse_designs(options.designs);
  nlohmann::json all = nlohmann::json::array();
  bool violated = false;
  const InterruptWatch watch;
  for (const Design design : designs) {
    if (watch.interrupted()) break;
    std::atomic<uint64_t> operations{0};
    TortureOptions t = options.torture;
    t.design = design;
    t.seconds = options.torture.seconds / static_cast<double>(designs.size());
    t.progress = &operations;
    t.stop = &watch.flag();
    TortureResult result;
    {
      const ProgressLine line(design, t.seconds, operations);
      result = torture::run_torture(t);
    }
    if (options.json != "-") print_summary(design, result, t);
    all.push_back(to_json(design, result, t));
    violated = result.violation.has_value();
    if (violated) break;
  }
  if (!options.json.empty()) {
    if (const int status = write_json(all, options.json); status != kFine) return status;
  }
  return watch.status(violated ? kDifferences : kFine);
}

}  // namespace

void add_torture_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* cmd = app.add_subcommand(
      "torture", "Every operation by many threads at once, with what must hold as assertions");
  cmd->add_option("--design", options->designs,
                  "Designs, separated by commas, or all: " + design_names())
      ->capture_default_str();
  cmd->add_option("--seconds", options->torture.seconds, "In all, shared by the designs")
      ->check(seconds_from(0.001, 1e6))
      ->capture_default_str();
  cmd->add_option("--threads", options->torture.threads, "Each is a reader and a writer")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  cmd->add_option("--seed", options->torture.seed, "Of all choices")
      ->check(whole_number())
      ->capture_default_str();
  add_json_option(*cmd, options->json, "Write a summary to this file");
  // For the test that the torture notices: takes a rule out.
  cmd->add_option("--break", options->torture.broken)
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, Broken>{{"read-lock", Broken::read_lock}, {"data", Broken::data}}))
      ->group("");
  cmd->footer(
      "Stops at the first violation and prints the last events of both sides. Random delays at "
      "the\n"
      "protocols' hooks: in builds with debug checks (presets dev, asan, tsan).\n"
      "Exit status: 0 no violation, 1 a violation or a hang, 2 bad input, 130 interrupted (a "
      "summary is\n"
      "printed all the same).\n"
      "Example:\n"
      "  pervma torture --design all --seconds 30 --threads 4");
  cmd->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace pervma::tools

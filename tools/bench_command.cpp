// `pervma bench`: microbenchmarks, each beside the limits of the machine, measured in the same run.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "bench/lookup.h"
#include "tools/commands.h"
#include "tools/output.h"

namespace pervma::tools {

namespace {

using bench::BenchRow;

struct Options {
  bench::LookupOptions lookup;
  std::string json;
};

void print_rows(const std::vector<BenchRow>& rows) {
  fmt::print("{:>9} {:>12} {:>9} {:>8} {:>12} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}\n", "scenario",
             "subject", "ranges", "threads", "ops/s", "ns p50", "p99", "p99.9", "max", "repeats",
             "spread %");
  for (const BenchRow& r : rows) {
    fmt::print(
        "{:>9} {:>12} {:>9} {:>8} {:>12.0f} {:>8.1f} {:>8.1f} {:>8.1f} {:>8.1f} {:>8} "
        "{:>8.1f}\n",
        r.scenario, r.subject, r.ranges, r.threads, r.ops_per_s, r.ns_p50, r.ns_p99, r.ns_p999,
        r.ns_max, r.repeats, r.spread_pct);
  }
}

nlohmann::json to_json(const BenchRow& r) {
  return {{"scenario", r.scenario},
          {"subject", r.subject},
          {"ranges", r.ranges},
          {"threads", r.threads},
          {"ops_per_s", r.ops_per_s},
          {"ns", {{"p50", r.ns_p50}, {"p99", r.ns_p99}, {"p999", r.ns_p999}, {"max", r.ns_max}}},
          {"bytes", r.bytes},
          {"repeats", r.repeats},
          {"spread_pct", r.spread_pct}};
}

nlohmann::json to_json(const std::vector<BenchRow>& rows) {
  nlohmann::json all = nlohmann::json::array();
  for (const BenchRow& row : rows) all.push_back(to_json(row));
  return all;
}

int run_lookup(const Options& options) {
  Result<std::vector<BenchRow>> rows = bench::bench_lookup(options.lookup);
  if (!rows) return bad_input(fmt::format("bench lookup: {}", error_name(rows.error())));
  if (options.json != "-") {
    print_rows(*rows);
    const double pair = rows->front().ns_p50;
    for (const BenchRow& r : *rows) {
      if (r.subject.starts_with("limit:")) continue;
      fmt::print(
          "{}: find, lock and unlock a VMA among {}: {:.1f} ns, {:.2f}x the pair of atomic "
          "operations ({:.1f} ns) it cannot do without\n",
          r.subject, r.ranges, r.ns_p50, r.ns_p50 / pair, pair);
    }
  }
  return options.json.empty() ? kFine : write_json(to_json(*rows), options.json);
}

}  // namespace

void add_bench_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* cmd = app.add_subcommand("bench", "Measure, beside what the machine itself costs");
  cmd->require_subcommand(1);
  CLI::App* lookup =
      cmd->add_subcommand("lookup", "Find the VMA of an address, lock it, unlock it");
  lookup->add_option("--ranges", options->lookup.ranges, "VMAs of one page, with gaps")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  lookup->add_option("--repeat", options->lookup.repeats, "Repeats; subjects take turns")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  lookup->add_option("--json", options->json, "Write the rows to this file; - is standard output");
  lookup->footer(
      "Example:\n"
      "  pervma bench lookup --ranges 65000 --json lookup.json");
  lookup->callback([options, &action] { action = [options] { return run_lookup(*options); }; });
  cmd->footer("Example:\n  pervma bench lookup");
}

}  // namespace pervma::tools

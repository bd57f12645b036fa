// `pervma replay`: plays recordings under lock designs, compares every result, and shows what the
// designs cost.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/commands.h"
#include "tools/designs.h"
#include "tools/interrupt.h"
#include "tools/options.h"
#include "tools/output.h"
#include "tools/percentile.h"
#include "tools/progress_bar.h"
#include "trace/replay.h"

namespace pervma::tools {

namespace {

using trace::Prepared;
using trace::ReplayResult;

struct Options {
  std::vector<std::string> traces;
  std::string designs = "refcount";
  std::vector<uint32_t> workers{2};
  uint32_t repeat = 1;
  uint32_t show = 20;
  std::string json;
};

// All repeats of one trace, design and number of workers.
struct Row {
  Design design;
  uint32_t workers;
  uint32_t repeats = 0;
  uint64_t mismatches = 0;
  std::vector<trace::Mismatch> shown;
  uint64_t events = 0;
  uint64_t faults = 0;
  uint64_t elapsed_ns = 0;
  std::vector<uint32_t> fault_ns;
  std::vector<uint32_t> change_ns;
  FaultCounters counters;
  LockCounters lock;

  void add(ReplayResult& r);
};

void Row::add(ReplayResult& r) {
  if (mismatches == 0) shown = std::move(r.mismatches);
  mismatches += r.mismatch_count;
  ++repeats;
  events = r.events;
  faults = r.faults;
  elapsed_ns += r.elapsed_ns;
  fault_ns.insert(fault_ns.end(), r.fault_ns.begin(), r.fault_ns.end());
  change_ns.insert(change_ns.end(), r.change_ns.begin(), r.change_ns.end());
  counters.success += r.fault_counters.success;
  counters.abort += r.fault_counters.abort;
  counters.retry += r.fault_counters.retry;
  counters.miss += r.fault_counters.miss;
  lock.read += r.lock.read;
  lock.write += r.lock.write;
  lock.wait_ns += r.lock.wait_ns;
}

// The figures of a row: percentiles over all repeats, counts per repeat.
struct Figures {
  double faults_per_s;
  uint32_t fault_p50, fault_p99, fault_p999, fault_max;
  uint32_t change_p50, change_p99;
  double fallback_pct;
  uint64_t lock_read, lock_write, lock_wait_ns;
};

Figures figures_of(const Row& row) {
  const Percentiles fault(row.fault_ns);
  const Percentiles change(row.change_ns);
  const uint64_t attempts = row.counters.success + row.counters.retry + row.counters.abort;
  const auto per_repeat = [&](uint64_t n) { return (n + row.repeats / 2) / row.repeats; };
  return {
      .faults_per_s = row.elapsed_ns == 0 ? 0
                                          : static_cast<double>(row.fault_ns.size()) * 1e9 /
                                                static_cast<double>(row.elapsed_ns),
      .fault_p50 = fault.at(0.5),
      .fault_p99 = fault.at(0.99),
      .fault_p999 = fault.at(0.999),
      .fault_max = fault.max(),
      .change_p50 = change.at(0.5),
      .change_p99 = change.at(0.99),
      .fallback_pct = attempts == 0
                          ? 0
                          : 100.0 * static_cast<double>(row.counters.retry + row.counters.abort) /
                                static_cast<double>(attempts),
      .lock_read = per_repeat(row.lock.read),
      .lock_write = per_repeat(row.lock.write),
      .lock_wait_ns = per_repeat(row.lock.wait_ns),
  };
}

std::string us(uint64_t ns) { return fmt::format("{:.1f}", static_cast<double>(ns) / 1000.0); }

void print_table(const Prepared& p, const std::vector<Row>& rows) {
  const auto& rec = p.recording;
  fmt::print("\n{}: {} threads, {} spaces, {} user faults, {} kernel faults\n", rec.name,
             p.script.thread_count, p.script.spaces.size() - 1, rec.user_faults, rec.kernel_faults);
  fmt::print("{:>11} {:>7} {:>7} {:>10} {:>9}  {:>31}  {:>15}  {:>8}  {:>8} {:>8} {:>9}\n", "", "",
             "", "", "", "fault us", "map change us", "fell", "mmap lock taken", "", "waited");
  fmt::print(
      "{:>11} {:>7} {:>7} {:>10} {:>9}  {:>7} {:>7} {:>7} {:>7}  {:>7} {:>7}  {:>8}  {:>8} {:>8} "
      "{:>9}\n",
      "design", "workers", "events", "mismatches", "faults/s", "p50", "p99", "p99.9", "max", "p50",
      "p99", "back %", "read", "write", "us");
  for (const Row& row : rows) {
    const Figures f = figures_of(row);
    fmt::print(
        "{:>11} {:>7} {:>7} {:>10} {:>9.0f}  {:>7} {:>7} {:>7} {:>7}  {:>7} {:>7}  {:>8.2f}  "
        "{:>8} {:>8} {:>9}\n",
        design_name(row.design), row.workers, row.events, row.mismatches, f.faults_per_s,
        us(f.fault_p50), us(f.fault_p99), us(f.fault_p999), us(f.fault_max), us(f.change_p50),
        us(f.change_p99), f.fallback_pct, f.lock_read, f.lock_write, us(f.lock_wait_ns));
  }
  if (rec.source == trace::Source::perf) {
    fmt::print("{:>11} {:>76}  {:>15}  {:>8}  {:>8} {:>8}\n", "Linux", "(in the recording)", "", "",
               rec.recorded_mmap_lock.read, rec.recorded_mmap_lock.write);
  }
  for (const std::string& note : p.script.notes) fmt::print("  {}: {}\n", rec.file, note);
}

// One line that says what the table shows.
void print_reading(const Prepared& p, const std::vector<Row>& rows) {
  uint64_t mismatches = 0;
  const Row* base = nullptr;
  const Row* best = nullptr;
  for (const Row& row : rows) {
    mismatches += row.mismatches;
    if (row.design == Design::mmap_lock) base = &row;
    if (row.design == Design::refcount) best = &row;
  }
  const std::string agreement =
      mismatches == 0 ? "every recorded result was reproduced"
                      : fmt::format("{} results differ from the recording", mismatches);
  if (base == nullptr || best == nullptr) {
    fmt::print("{}: {}.\n", p.recording.name, agreement);
    return;
  }
  const Figures b = figures_of(*base);
  const Figures r = figures_of(*best);
  fmt::print(
      "{}: {}; with per-VMA locks {:.2f} % of the faults fell back, and the mmap lock was taken "
      "for "
      "read {} times instead of {} (Linux: {}); fault p99 {} instead of {} us, waited {} instead "
      "of "
      "{} us.\n",
      p.recording.name, agreement, r.fallback_pct, r.lock_read, b.lock_read,
      p.recording.recorded_mmap_lock.read, us(r.fault_p99), us(b.fault_p99), us(r.lock_wait_ns),
      us(b.lock_wait_ns));
}

nlohmann::json to_json(const Prepared& p, const Row& row) {
  const Figures f = figures_of(row);
  nlohmann::json differences = nlohmann::json::array();
  for (const trace::Mismatch& m : row.shown) {
    differences.push_back({{"line", m.line}, {"text", m.text}});
  }
  return {
      {"trace", p.recording.name},
      {"notes", p.script.notes},
      {"design", design_name(row.design)},
      {"workers", row.workers},
      {"repeats", row.repeats},
      {"events", row.events},
      {"mismatches", row.mismatches},
      {"differences", std::move(differences)},
      {"faults", row.faults},
      {"faults_per_s", f.faults_per_s},
      {"fault_ns",
       {{"p50", f.fault_p50}, {"p99", f.fault_p99}, {"p999", f.fault_p999}, {"max", f.fault_max}}},
      {"change_ns", {{"p50", f.change_p50}, {"p99", f.change_p99}}},
      {"fallback_pct", f.fallback_pct},
      {"mmap_lock", {{"read", f.lock_read}, {"write", f.lock_write}, {"wait_ns", f.lock_wait_ns}}},
      {"recorded_mmap_lock",
       {{"read", p.recording.recorded_mmap_lock.read},
        {"write", p.recording.recorded_mmap_lock.write}}}};
}

void print_differences(const Prepared& p, const std::vector<Row>& rows, uint32_t most) {
  for (const Row& row : rows) {
    uint32_t shown = 0;
    for (const trace::Mismatch& m : row.shown) {
      if (shown++ == most) break;
      fmt::print("{}:{}: {} ({}, {} workers)\n", p.recording.file, m.line, m.text,
                 design_name(row.design), row.workers);
    }
    if (row.shown.size() > most) {
      fmt::print("  ... {} more; --show N shows more\n", row.shown.size() - most);
    }
  }
}

// Interleaved, so that a slow moment of the machine meets all designs alike.
std::vector<Row> run_all(const Prepared& p, const std::vector<Design>& designs,
                         const Options& options, const InterruptWatch& watch) {
  std::vector<Row> rows;
  for (const uint32_t workers : options.workers) {
    for (const Design design : designs) {
      Row row;
      row.design = design;
      row.workers = workers;
      rows.push_back(std::move(row));
    }
  }
  std::atomic<uint64_t> done{0};
  const ProgressBar bar(p.recording.name, done,
                        uint64_t{options.repeat} * rows.size() * p.script.ops.size());
  for (uint32_t i = 0; i < options.repeat; ++i) {
    for (Row& row : rows) {
      if (watch.interrupted()) break;
      Result<ReplayResult> result =
          trace::replay(p, {.design = row.design, .workers = row.workers, .progress = &done});
      if (!result) throw std::runtime_error(p.recording.file + ": no memory to replay it");
      row.add(*result);
    }
  }
  std::erase_if(rows, [](const Row& row) { return row.repeats == 0; });  // Interrupted before.
  return rows;
}

int run(const Options& options) {
  const std::vector<Design> designs = parse_designs(options.designs);
  const bool tables = options.json != "-";
  nlohmann::json all = nlohmann::json::array();
  bool differs = false;
  std::vector<std::pair<std::unique_ptr<Prepared>, std::vector<Row>>> results;
  const InterruptWatch watch;
  for (const std::string& path : options.traces) {
    if (watch.interrupted()) break;
    trace::TraceResult<std::unique_ptr<Prepared>> prepared = trace::prepare(path);
    if (!prepared) return bad_input(prepared.error().to_string());
    std::vector<Row> rows = run_all(**prepared, designs, options, watch);
    if (rows.empty()) break;
    for (const Row& row : rows) {
      differs = differs || row.mismatches != 0;
      all.push_back(to_json(**prepared, row));
    }
    if (tables) {
      print_table(**prepared, rows);
      print_differences(**prepared, rows, options.show);
      std::fflush(stdout);
    }
    results.emplace_back(std::move(*prepared), std::move(rows));
  }
  if (tables) {
    fmt::print("\n");
    for (const auto& [prepared, rows] : results) print_reading(*prepared, rows);
  }
  if (!options.json.empty()) {
    if (const int status = write_json(all, options.json); status != kFine) return status;
  }
  return watch.status(differs ? kDifferences : kFine);
}

}  // namespace

void add_replay_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* cmd = app.add_subcommand(
      "replay", "Play recordings of real programs under lock designs and compare every result");
  cmd->add_option(
         "TRACE", options->traces,
         "Recordings: text of perf script or strace -f -ttt; plain, .xz, .zst or .gz; - is "
         "standard input")
      ->required();
  cmd->add_option("--design", options->designs,
                  "Designs, separated by commas, or all: " + design_names())
      ->capture_default_str();
  cmd->add_option("--workers", options->workers,
                  "Threads that play the recording's threads; a list makes a row for each")
      ->delimiter(',')
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  cmd->add_option("--repeat", options->repeat,
                  "Repeats, designs taking turns; latencies are pooled")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  cmd->add_option("--show", options->show, "Differences to show of each row")
      ->capture_default_str();
  add_json_option(*cmd, options->json, "Write the rows to this file");
  cmd->footer(
      "Counts are per repeat; latencies include waiting for locks, not the time between "
      "operations.\n"
      "Exit status: 0 no difference, 1 differences, 2 bad input, 130 interrupted (what was "
      "replayed "
      "is shown).\n"
      "Examples:\n"
      "  pervma replay traces/jvm-threads.txt.xz --design all --workers 2 --json out.json\n"
      "  pervma replay traces/*.txt.xz --design all --workers 1,2,4 --repeat 20");
  cmd->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace pervma::tools

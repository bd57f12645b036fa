#include "tools/bench_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <tuple>

#include "bench/machine.h"

namespace pervma::tools {

namespace {

using bench::BenchRow;

// What makes rows of two runs, or of two numbers of threads, the same line.
auto line_of(const BenchRow& r) {
  return std::tie(r.scenario, r.variant, r.subject, r.role, r.ranges);
}
bool same_line(const BenchRow& a, const BenchRow& b) { return line_of(a) == line_of(b); }

const BenchRow* find_line(const std::vector<BenchRow>& rows, const BenchRow& like,
                          uint32_t threads) {
  const auto at = std::ranges::find_if(
      rows, [&](const BenchRow& r) { return same_line(r, like) && r.threads == threads; });
  return at == rows.end() ? nullptr : &*at;
}

// 1.9x, or nothing where there is nothing to compare with.
std::string times(double value, double of) {
  return value > 0 && of > 0 ? fmt::format("{:.2f}x", value / of) : std::string();
}

size_t subject_width(const std::vector<BenchRow>& rows) {
  size_t width = 7;
  for (const BenchRow& r : rows) width = std::max(width, r.subject.size());
  return width;
}

std::string kind_of(const BenchRow& r) {
  return r.role.empty() ? r.variant : fmt::format("{}, {}", r.variant, r.role);
}

BenchRow row_from(const nlohmann::json& j) {
  BenchRow r;
  r.scenario = j.at("scenario");
  r.variant = j.value("variant", "");
  r.subject = j.at("subject");
  r.role = j.value("role", "");
  r.ranges = j.at("ranges");
  r.threads = j.at("threads");
  r.ops_per_s = j.at("ops_per_s");
  r.ns_p999 = j.at("ns").at("p999");
  r.bytes = j.at("bytes");
  return r;
}

}  // namespace

void print_bench_rows(const std::vector<BenchRow>& rows) {
  const size_t width = subject_width(rows);
  fmt::print(
      "{:<8} {:<18} {:<{}} {:>8} {:>7} {:>12} {:>8} {:>8} {:>8} {:>8} {:>9} {:>7} {:>7} {:>8} "
      "{:>6}\n",
      "scenario", "", "subject", width, "ranges", "threads", "ops/s", "ns/op", "p50", "p99",
      "p99.9", "max", "spread", "x pair", "x thread", "bytes");
  const auto pair = std::ranges::find(rows, "limit:pair", &BenchRow::subject);
  for (const BenchRow& r : rows) {
    const BenchRow* one = find_line(rows, r, 1);
    fmt::print(
        "{:<8} {:<18} {:<{}} {:>8} {:>7} {:>12.0f} {:>8.1f} {:>8.0f} {:>8.0f} {:>8.0f} {:>9.0f} "
        "{:>5.0f} % {:>7} {:>8} {:>6}\n",
        r.scenario, kind_of(r), r.subject, width, r.ranges, r.threads, r.ops_per_s, r.ns_mean,
        r.ns_p50, r.ns_p99, r.ns_p999, r.ns_max, r.spread_pct,
        pair == rows.end() ? std::string() : times(r.ns_mean, pair->ns_mean),
        r.threads == 1 || one == nullptr ? std::string() : times(r.ops_per_s, one->ops_per_s),
        r.bytes > 0 ? fmt::format("{:.1f}", r.bytes) : std::string());
  }
}

void print_bench_run(const BenchRun& run) {
  const bool is_free = run.others_pct < 100 * bench::kFreeBelow;
  fmt::print("\nmachine: {}\ncores: {}: others took {:.1f} % of one CPU meanwhile\n", run.machine,
             is_free ? "free" : "NOT free, do not trust the figures", run.others_pct);
  fmt::print(
      "ns/op: of one thread, from the rate; p50 to max: single operations, sampled, the clock "
      "taken off.\n"
      "x pair: ns/op against limit:pair's; x thread: the rate against one thread's.\n");
}

nlohmann::json bench_json(const std::vector<BenchRow>& rows, const BenchRun& run) {
  nlohmann::json all = nlohmann::json::array();
  for (const BenchRow& r : rows) {
    all.push_back({{"scenario", r.scenario},
                   {"variant", r.variant},
                   {"subject", r.subject},
                   {"role", r.role},
                   {"ranges", r.ranges},
                   {"threads", r.threads},
                   {"ops_per_s", r.ops_per_s},
                   {"ns",
                    {{"mean", r.ns_mean},
                     {"p50", r.ns_p50},
                     {"p99", r.ns_p99},
                     {"p999", r.ns_p999},
                     {"max", r.ns_max}}},
                   {"bytes", r.bytes},
                   {"repeats", r.repeats},
                   {"spread_pct", r.spread_pct},
                   {"machine", run.machine},
                   {"others_pct", run.others_pct}});
  }
  return all;
}

std::vector<BenchRow> read_bench_json(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error(path + ": cannot be read");
  std::vector<BenchRow> rows;
  try {
    const nlohmann::json all = nlohmann::json::parse(in);
    if (!all.is_array()) throw std::runtime_error("");
    for (const nlohmann::json& j : all) rows.push_back(row_from(j));
  } catch (const std::exception&) {
    throw std::runtime_error(path + ": not the JSON of pervma bench");
  }
  if (rows.empty()) throw std::runtime_error(path + ": has no rows");
  return rows;
}

void print_bench_comparison(const std::vector<BenchRow>& before,
                            const std::vector<BenchRow>& after) {
  const size_t width = subject_width(after);
  size_t missing = 0;
  fmt::print("\n{:<8} {:<18} {:<{}} {:>8} {:>7} {:>12} {:>12} {:>7} {:>8} {:>8} {:>7}\n",
             "compared", "", "subject", width, "ranges", "threads", "ops/s before", "now", "ratio",
             "p99.9", "now", "ratio");
  for (const BenchRow& now : after) {
    const BenchRow* old = find_line(before, now, now.threads);
    if (old == nullptr) {
      ++missing;
      continue;
    }
    fmt::print(
        "{:<8} {:<18} {:<{}} {:>8} {:>7} {:>12.0f} {:>12.0f} {:>7} {:>8.0f} {:>8.0f} {:>7}\n",
        now.scenario, kind_of(now), now.subject, width, now.ranges, now.threads, old->ops_per_s,
        now.ops_per_s, times(now.ops_per_s, old->ops_per_s), old->ns_p999, now.ns_p999,
        times(now.ns_p999, old->ns_p999));
  }
  if (missing != 0) fmt::print("{} rows were not measured before\n", missing);
}

}  // namespace pervma::tools

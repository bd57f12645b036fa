// bench_output.h: what `pervma bench` prints and writes: a table, JSON rows, and a comparison with
// the JSON of an earlier run.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/bench_row.h"

namespace pervma::tools {

// What all rows of a run have in common.
struct BenchRun {
  std::string machine;    // in one line
  double others_pct = 0;  // of one CPU, taken by others meanwhile
};

void print_bench_rows(const std::vector<bench::BenchRow>&);
// Says whether the cores were free.
void print_bench_run(const BenchRun&);

nlohmann::json bench_json(const std::vector<bench::BenchRow>&, const BenchRun&);

// The rows of an earlier run's JSON, as far as a comparison needs them. Throws std::runtime_error
// with one line when the file has none.
std::vector<bench::BenchRow> read_bench_json(const std::string& path);
// Prints both figures of each row that both runs have, and their ratio.
void print_bench_comparison(const std::vector<bench::BenchRow>& before,
                            const std::vector<bench::BenchRow>& after);

}  // namespace pervma::tools

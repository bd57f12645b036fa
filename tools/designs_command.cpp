// `pervma designs`: what each lock design is, costs and lacks.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "pervma/design.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/output.h"

namespace pervma::tools {
namespace {

void print_design(Design d) {
  const DesignInfo i = design_info(d);
  fmt::print("{}: {}\n", design_name(d), i.what);
  fmt::print("  bytes per VMA      {} for the lock, {} in all{}\n", i.lock_bytes, i.vma_bytes,
             i.hot_bytes == 0 ? "" : fmt::format("; {} more for a hot one", i.hot_bytes));
  fmt::print("  a reader writes    {}\n", i.reads);
  fmt::print("  a writer waits for {}\n", i.waits_for);
  fmt::print("  weakness           {}\n", i.weakness);
  std::string frees;
  for (const VmaFree f : kVmaFrees) {
    if (f != VmaFree::at_once && !i.frees_by_rcu) continue;
    frees += (frees.empty() ? "" : ", ") + std::string(vma_free_name(f));
  }
  fmt::print("  frees VMAs         {}\n", frees);
}

nlohmann::json to_json(Design d) {
  const DesignInfo i = design_info(d);
  nlohmann::json frees = nlohmann::json::array({vma_free_name(VmaFree::at_once)});
  if (i.frees_by_rcu) {
    frees.push_back(vma_free_name(VmaFree::rcu));
    frees.push_back(vma_free_name(VmaFree::rcu_batched));
  }
  return {{"design", design_name(d)},
          {"what", i.what},
          {"bytes_per_vma", {{"lock", i.lock_bytes}, {"total", i.vma_bytes}, {"hot", i.hot_bytes}}},
          {"reader_writes", i.reads},
          {"writer_waits_for", i.waits_for},
          {"weakness", i.weakness},
          {"vma_free", frees}};
}

int run(const std::string& json) {
  if (json != "-") {
    for (const Design d : kDesigns) print_design(d);
  }
  if (json.empty()) return kFine;
  nlohmann::json all = nlohmann::json::array();
  for (const Design d : kDesigns) all.push_back(to_json(d));
  return write_json(all, json);
}

}  // namespace

void add_designs_command(CLI::App& app, Action& action) {
  auto json = std::make_shared<std::string>();
  CLI::App* cmd = app.add_subcommand(
      "designs", "What each lock design is: memory, what readers write, what writers wait for");
  add_json_option(*cmd, *json, "Write the same to this file");
  cmd->footer(
      "Examples:\n"
      "  pervma designs\n"
      "  pervma designs --json -");
  cmd->callback([json, &action] { action = [json] { return run(*json); }; });
}

}  // namespace pervma::tools

#include "trace/schedule.h"

#include <algorithm>
#include <unordered_map>

namespace pervma::trace {

std::vector<WorkerPlan> make_schedule(const Script& script, const Dependencies& deps,
                                      uint32_t workers) {
  std::unordered_map<ThreadIndex, uint32_t> ops_of;
  for (const Op& op : script.ops) ++ops_of[op.thread];
  std::unordered_map<ThreadIndex, uint32_t> worker_of;
  std::vector<uint64_t> load(workers);
  for (const ThreadIndex t : script.threads_in_order) {
    const auto least = static_cast<uint32_t>(std::ranges::min_element(load) - load.begin());
    worker_of[t] = least;
    load[least] += ops_of[t];
  }

  std::vector<WorkerPlan> plans(workers);
  std::vector<uint32_t> place(script.ops.size());  // in its worker's steps
  // known[w][v]: how far v certainly is when w gets to its next step.
  std::vector<std::vector<uint32_t>> known(workers, std::vector<uint32_t>(workers));
  for (OpIndex i = 0; i < script.ops.size(); ++i) {
    const uint32_t w = worker_of[script.ops[i].thread];
    WorkerPlan& plan = plans[w];
    place[i] = static_cast<uint32_t>(plan.steps.size());
    plan.steps.push_back({i, static_cast<uint32_t>(plan.waits.size())});
    std::vector<uint32_t> need(workers);
    for (uint32_t d = deps.first[i]; d < deps.first[i + 1]; ++d) {
      const OpIndex on = deps.of[d];
      const uint32_t v = worker_of[script.ops[on].thread];
      if (v != w) need[v] = std::max(need[v], place[on] + 1);
    }
    for (uint32_t v = 0; v < workers; ++v) {
      if (need[v] <= known[w][v]) continue;
      plan.waits.push_back({v, need[v]});
      known[w][v] = need[v];
    }
  }
  return plans;
}

}  // namespace pervma::trace

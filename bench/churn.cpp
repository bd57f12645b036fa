#include "bench/churn.h"

#include "bench/subjects.h"

namespace pervma::bench {

namespace {

constexpr const char* kScenario = "churn";

Crew readers(Subject& subject, const Layout& layout, unsigned threads) {
  return {.role = "reader", .threads = threads, .work = [&subject, &layout](Worker& w) {
            subject.read(w, layout, Picker(layout.ranges, 0, 1, w.seed() + w.index()));
          }};
}

Crew writer(Subject& subject, const Layout& layout, Churn where) {
  return {.role = "writer", .threads = 1, .work = [&subject, &layout, where](Worker& w) {
            subject.churn(w, layout, where);
          }};
}

void add_cases(std::vector<Case>& cases, Subject& subject, const Layout& layout, unsigned threads) {
  const auto add = [&](const char* variant, std::vector<Crew> crews) {
    cases.push_back({.scenario = kScenario,
                     .variant = variant,
                     .subject = subject.name(),
                     .ranges = layout.ranges,
                     .crews = std::move(crews)});
  };
  add("quiet", {readers(subject, layout, threads)});
  add("elsewhere", {readers(subject, layout, threads), writer(subject, layout, Churn::elsewhere)});
  add("next-door", {readers(subject, layout, threads), writer(subject, layout, Churn::next_door)});
}

}  // namespace

BenchResult bench_churn(const BenchOptions& options) {
  std::vector<BenchRow> rows;
  const Limits limits;
  for (const uint64_t ranges : options.ranges) {
    const Layout layout{.ranges = ranges};
    const std::vector<SubjectPtr> subjects = make_subjects(options, layout);
    if (subjects.empty()) return std::unexpected(no_room_for(kScenario, ranges));
    std::vector<Case> cases;
    if (rows.empty()) limits.add_cases(cases, kScenario);
    for (const unsigned threads : options.threads) {
      for (const SubjectPtr& subject : subjects) add_cases(cases, *subject, layout, threads);
    }
    BenchResult some = run_cases(cases, options.run);
    if (!some) return some;
    rows.insert(rows.end(), some->begin(), some->end());
  }
  return rows;
}

}  // namespace pervma::bench

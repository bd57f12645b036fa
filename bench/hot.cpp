#include "bench/hot.h"

#include "bench/subjects.h"

namespace pervma::bench {

namespace {

constexpr const char* kScenario = "hot";

void add_case(std::vector<Case>& cases, Subject& subject, const Layout& layout, unsigned threads) {
  const auto work = [&subject, &layout](Worker& w) {
    subject.read_one(w, layout, layout.ranges / 2);
  };
  cases.push_back({.scenario = kScenario,
                   .variant = {},
                   .subject = subject.name(),
                   .ranges = layout.ranges,
                   .crews = {{.role = {}, .threads = threads, .work = work}}});
}

// All threads but one read the range; the last one writes it now and then, which has to wait for
// those inside.
void add_storm(std::vector<Case>& cases, Subject& subject, const Layout& layout, unsigned threads) {
  const uint64_t index = layout.ranges / 2;
  cases.push_back(
      {.scenario = kScenario,
       .variant = "storm",
       .subject = subject.name(),
       .ranges = layout.ranges,
       .crews = {
           {.role = "reader",
            .threads = threads - 1,
            .work = [&subject, &layout, index](Worker& w) { subject.read_one(w, layout, index); }},
           {.role = "writer", .threads = 1, .work = [&subject, &layout, index](Worker& w) {
              subject.write_one(w, layout, index);
            }}}});
}

}  // namespace

BenchResult bench_hot(const BenchOptions& options) {
  std::vector<BenchRow> rows;
  const Limits limits;
  for (const uint64_t ranges : options.ranges) {
    const Layout layout{.ranges = ranges};
    const std::vector<SubjectPtr> subjects = make_subjects(options, layout);
    if (subjects.empty()) return std::unexpected(no_room_for(kScenario, ranges));
    std::vector<Case> cases;
    if (rows.empty()) limits.add_cases(cases, kScenario);
    for (const unsigned threads : options.threads) {
      for (const SubjectPtr& subject : subjects) add_case(cases, *subject, layout, threads);
    }
    for (const unsigned threads : options.threads) {
      for (const SubjectPtr& subject : subjects) {
        if (threads > 1 && subject->has_write_one()) add_storm(cases, *subject, layout, threads);
      }
    }
    BenchResult some = run_cases(cases, options.run);
    if (!some) return some;
    rows.insert(rows.end(), some->begin(), some->end());
  }
  return rows;
}

}  // namespace pervma::bench

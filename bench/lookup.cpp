#include "bench/lookup.h"

#include <memory>

#include "bench/subjects.h"

namespace pervma::bench {

namespace {

constexpr const char* kScenario = "lookup";

// The cases of one number of ranges, and what they refer to.
class Lookups {
 public:
  Lookups(const BenchOptions& options, uint64_t ranges)
      : options_(options), layout_{.ranges = ranges}, zipf_(ranges) {}

  bool add_cases(std::vector<Case>& cases) {
    subjects_ = make_subjects(options_, layout_);
    if (subjects_.empty()) return false;
    subjects_.insert(subjects_.begin(), make_limit_walk(layout_));
    if (subjects_.front() == nullptr) return false;
    for (const Pick pick : options_.picks) {
      for (const unsigned threads : options_.threads) {
        for (const SubjectPtr& subject : subjects_) add(cases, *subject, pick, threads);
      }
    }
    return true;
  }

 private:
  void add(std::vector<Case>& cases, Subject& subject, Pick pick, unsigned threads) const {
    const auto work = [this, &subject, pick](Worker& w) {
      subject.read(w, layout_, picker(pick, w));
    };
    cases.push_back({.scenario = kScenario,
                     .variant = std::string(pick_name(pick)),
                     .subject = subject.name(),
                     .ranges = layout_.ranges,
                     .crews = {{.role = {}, .threads = threads, .work = work}}});
  }
  Picker picker(Pick pick, const Worker& w) const {
    if (pick == Pick::zipf) return {zipf_, w.index(), w.seed()};
    const bool own = pick == Pick::distinct;
    return {layout_.ranges, own ? w.index() : 0, own ? w.count() : 1, w.seed() + w.index()};
  }

  const BenchOptions& options_;
  const Layout layout_;
  const ZipfDraws zipf_;
  std::vector<SubjectPtr> subjects_;
};

}  // namespace

BenchResult bench_lookup(const BenchOptions& options) {
  std::vector<BenchRow> rows;
  const Limits limits;
  for (const uint64_t ranges : options.ranges) {
    std::vector<Case> cases;
    if (rows.empty()) limits.add_cases(cases, kScenario);
    Lookups lookups(options, ranges);
    if (!lookups.add_cases(cases)) return std::unexpected(no_room_for(kScenario, ranges));
    BenchResult some = run_cases(cases, options.run);
    if (!some) return some;
    rows.insert(rows.end(), some->begin(), some->end());
  }
  return rows;
}

}  // namespace pervma::bench

#include "bench/subjects.h"

#include <fmt/format.h>

#include "bench/design_subjects.h"
#include "bench/peers.h"
#include "bench/rangemap_subjects.h"

namespace pervma::bench {

std::vector<SubjectMaker> subject_makers(const BenchOptions& options, uint64_t ranges) {
  std::vector<SubjectMaker> makers;
  makers.reserve(options.designs.size());
  for (const Design design : options.designs) {
    makers.emplace_back([design, ranges] { return make_design_subject(design, ranges); });
  }
  for (SubjectMaker& rangemap : rangemap_makers()) makers.push_back(std::move(rangemap));
  if (options.peers == Peers::measured) {
    for (SubjectMaker& peer : peer_makers()) makers.push_back(std::move(peer));
  }
  return makers;
}

std::vector<SubjectPtr> make_subjects(const BenchOptions& options, const Layout& layout) {
  std::vector<SubjectPtr> subjects;
  for (const SubjectMaker& make : subject_makers(options, layout.ranges)) {
    subjects.push_back(make());
    if (subjects.back() == nullptr || !subjects.back()->fill(layout)) return {};
  }
  return subjects;
}

Limits::Limits()
    : pair_(make_limit_pair()), pair_shared_(make_limit_pair_shared()), rcu_(make_limit_rcu()) {}

void Limits::add_cases(std::vector<Case>& cases, const char* scenario) const {
  const auto add = [&](Subject& subject, unsigned threads) {
    cases.push_back({.scenario = scenario,
                     .variant = {},
                     .subject = subject.name(),
                     .ranges = 0,
                     .crews = {{.role = {}, .threads = threads, .work = [&subject](Worker& w) {
                                  subject.read_one(w, Layout{.ranges = 1}, 0);
                                }}}});
  };
  add(*pair_, 1);
  add(*pair_shared_, 2);
  add(*rcu_, 1);
}

std::string no_room_for(const char* scenario, uint64_t ranges) {
  return fmt::format("bench {}: no memory for {} ranges of every subject", scenario, ranges);
}

}  // namespace pervma::bench

#include "bench/tree.h"

#include <algorithm>

#include "bench/subjects.h"
#include "sync/rcu.h"
#include "tree/maple_tree.h"
#include "tree/node_pool.h"

namespace pervma::bench {

namespace {

constexpr const char* kScenario = "tree";
constexpr uint64_t kTop = uint64_t{1} << 46;

// The tree with nothing around it: an entry is the range's start.
class MapleMap {
 public:
  MapleMap() : tree_(pool_) { tree_.set_leftovers_taken(); }

  uint64_t find(uint64_t address, unsigned) noexcept {
    const RcuReader reader;
    return reinterpret_cast<uint64_t>(tree_.load(address));
  }
  bool insert(uint64_t start, uint64_t end) noexcept {
    return store(start, end, reinterpret_cast<void*>(start));
  }
  bool erase(uint64_t start, uint64_t end) noexcept { return store(start, end, nullptr); }
  // Where the lowest gap of `bytes` begins that is not below `from`.
  uint64_t gap(uint64_t from, uint64_t bytes) const noexcept {
    return tree_.find_gap_lowest(from, kTop, bytes).value_or(kNothing);
  }

 private:
  bool store(uint64_t start, uint64_t end, void* entry) noexcept {
    if (!tree_.store(start, end - 1, entry)) return false;
    {
      const MapleTree::Leftovers leftovers = tree_.take_leftovers();
    }
    pool_.use_huge_pages();
    return true;
  }

  NodePool pool_;
  MapleTree tree_;
};

using Maple = SubjectOf<MapleMap>;

class TreeCases {
 public:
  TreeCases(std::vector<Case>& cases, const Layout& layout) : cases_(cases), layout_(layout) {}

  void add(const char* variant, const Subject& subject, std::function<void(Worker&)> work,
           unsigned threads = 1) {
    cases_.push_back({.scenario = kScenario,
                      .variant = variant,
                      .subject = subject.name(),
                      .ranges = layout_.ranges,
                      .crews = {{.role = {}, .threads = threads, .work = std::move(work)}}});
  }

  void add_maple(Maple& maple) {
    // Gaps in a row, 64 at a time, from a random one on.
    const auto change = [&maple, layout = layout_](Worker& w, bool storing) {
      Picker picker(layout.ranges, 0, 1, w.seed());
      const auto n = static_cast<unsigned>(std::min<uint64_t>(64, layout.ranges));
      uint64_t failed = 0;
      uint64_t first = picker.next();
      const auto gap = [&](unsigned i) {
        return layout.start((first + i) % layout.ranges) + kPageSize;
      };
      const auto store = [&](unsigned i) {
        failed += maple.map().insert(gap(i), gap(i) + kPageSize) ? 0 : 1;
      };
      const auto erase = [&](unsigned i) {
        failed += maple.map().erase(gap(i), gap(i) + kPageSize) ? 0 : 1;
      };
      if (storing) {
        w.run_undone(n, store, [&](unsigned i) {
          erase(i);
          if (i + 1 == n) first = picker.next();
        });
      } else {
        for (unsigned i = 0; i < n; ++i) store(i);
        w.run_undone(n, erase, [&](unsigned i) {
          // What comes next is there before it is erased.
          if (i == 0) first = picker.next();
          store(i);
        });
        for (unsigned i = 0; i < n; ++i) erase(i);
      }
      w.note_wrong(failed);
    };
    add("store", maple, [change](Worker& w) { change(w, true); });
    add("erase", maple, [change](Worker& w) { change(w, false); });
    add("gap-near", maple, [&maple, layout = layout_](Worker& w) {
      Picker picker(layout.ranges, 0, 1, w.seed());
      uint64_t wrong = 0;
      w.run<16>([&] {
        const uint64_t from = layout.start(picker.next());
        wrong += maple.map().gap(from, kPageSize) == from + kPageSize ? 0 : 1;
      });
      w.note_wrong(wrong);
    });
    add("gap-far", maple, [&maple, layout = layout_](Worker& w) {
      Picker picker(layout.ranges, 0, 1, w.seed());
      const uint64_t behind = layout.start(layout.ranges - 1) + kPageSize;
      uint64_t wrong = 0;
      w.run<16>([&] {
        const uint64_t from = layout.start(picker.next());
        wrong += maple.map().gap(from, 4 * kPageSize) == behind ? 0 : 1;
      });
      w.note_wrong(wrong);
    });
  }

  void add_walk(Subject& subject, unsigned threads) {
    add(
        "walk", subject,
        [&subject, layout = layout_](Worker& w) {
          subject.read(w, layout, Picker(layout.ranges, 0, 1, w.seed() + w.index()));
        },
        threads);
  }

  void add_changes(Subject& subject) {
    add("insert-erase", subject,
        [&subject, layout = layout_](Worker& w) { subject.churn(w, layout, Churn::next_door); });
    if (!subject.has_sections()) return;
    add("insert-erase-64", subject,
        [&subject, layout = layout_](Worker& w) { subject.churn_in_sections(w, layout); });
  }

 private:
  std::vector<Case>& cases_;
  const Layout layout_;
};

}  // namespace

BenchResult bench_tree(const BenchOptions& options) {
  std::vector<BenchRow> rows;
  const Limits limits;
  for (const uint64_t ranges : options.ranges) {
    const Layout layout{.ranges = ranges};
    Maple maple("maple");
    const SubjectPtr walk = make_limit_walk(layout);
    const std::vector<SubjectPtr> subjects = make_subjects(options, layout);
    if (subjects.empty() || walk == nullptr || !maple.fill(layout)) {
      return std::unexpected(no_room_for(kScenario, ranges));
    }
    std::vector<Case> cases;
    if (rows.empty()) limits.add_cases(cases, kScenario);
    TreeCases tree(cases, layout);
    for (const unsigned threads : options.threads) {
      tree.add_walk(*walk, threads);
      tree.add_walk(maple, threads);
    }
    tree.add_maple(maple);
    tree.add_changes(maple);
    for (const SubjectPtr& subject : subjects) tree.add_changes(*subject);
    BenchResult some = run_cases(cases, options.run);
    if (!some) return some;
    rows.insert(rows.end(), some->begin(), some->end());
  }
  return rows;
}

}  // namespace pervma::bench

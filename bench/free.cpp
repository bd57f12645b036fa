#include "bench/free.h"

#include <fmt/format.h>

#include <list>
#include <optional>

#include "bench/design_subjects.h"
#include "bench/subjects.h"

namespace pervma::bench {

namespace {

constexpr const char* kScenario = "free";

enum class Way : uint8_t { munmap, exit };
enum class Until : uint8_t { returned, settled };

// Spaces of one design, made anew before each repeat.
class Freed {
 public:
  Freed(const SpaceOptions& options, const Layout& layout) : options_(options), layout_(layout) {}

  void make() {
    made_.emplace(make_design_space(options_, layout_.ranges));
    is_full_ = made_->fill(layout_);
  }
  void drop() { made_.reset(); }

  void be_rid(Worker& w, Way way, Until until) {
    if (!is_full_) {
      w.note_wrong(1);
      return;
    }
    bool good = true;
    w.run_once(layout_.ranges, [&] {
      if (way == Way::munmap) {
        const Address first{layout_.start(0)};
        good = made_->space->unmap(first, layout_.start(layout_.ranges) - first.value).has_value();
      } else {
        made_->space->exit();
      }
      if (until == Until::settled) made_->engine->quiesce();
    });
    if (!good || made_->space->map_count() != 0) w.note_wrong(1);
  }

 private:
  const SpaceOptions options_;
  const Layout layout_;
  std::optional<DesignSpace> made_;
  bool is_full_ = false;
};

std::string name_of(const SpaceOptions& options) {
  std::string name(design_name(options.design));
  if (options.vma_free != VmaFree::at_once) {
    name += fmt::format(":{}", vma_free_name(options.vma_free));
  }
  return name;
}

void add_cases(std::vector<Case>& cases, Freed& freed, const std::string& name, uint64_t ranges) {
  struct Variant {
    const char* name;
    Way way;
    Until until;
  };
  constexpr Variant kVariants[] = {{"munmap", Way::munmap, Until::returned},
                                   {"munmap-settled", Way::munmap, Until::settled},
                                   {"exit", Way::exit, Until::returned},
                                   {"exit-settled", Way::exit, Until::settled}};
  for (const Variant& v : kVariants) {
    const auto work = [&freed, v](Worker& w) { freed.be_rid(w, v.way, v.until); };
    cases.push_back({.scenario = kScenario,
                     .variant = v.name,
                     .subject = name,
                     .ranges = ranges,
                     .crews = {{.role = {}, .threads = 1, .work = work}},
                     .extent = Extent::once,
                     .before = [&freed] { freed.make(); },
                     .after = [&freed] { freed.drop(); }});
  }
}

}  // namespace

BenchResult bench_free(const BenchOptions& options) {
  std::vector<BenchRow> rows;
  const Limits limits;
  for (const uint64_t ranges : options.ranges) {
    const Layout layout{.ranges = ranges};
    std::list<Freed> all;
    std::vector<Case> cases;
    if (rows.empty()) limits.add_cases(cases, kScenario);
    for (const Design design : options.designs) {
      for (const VmaFree free : kVmaFrees) {
        if (free != VmaFree::at_once && !design_info(design).frees_by_rcu) continue;
        const SpaceOptions how{.design = design, .vma_free = free};
        add_cases(cases, all.emplace_back(how, layout), name_of(how), ranges);
      }
    }
    BenchResult some = run_cases(cases, options.run);
    if (!some) return some;
    rows.insert(rows.end(), some->begin(), some->end());
  }
  return rows;
}

}  // namespace pervma::bench

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

// One mapping whose pages go. The first that is heard of a page that goes comes after the mmap lock
// was downgraded: until then it is held for write, or waited for.
class FreedPages final : public PageNotifier {
 public:
  enum class Part : uint8_t { all, held_for_write };

  FreedPages(Design design, uint64_t pages) : design_(design), pages_(pages) {}

  void invalidate_start(Range) noexcept override {
    if (told_ == 0) told_ = cpu_ticks_end();
  }
  void invalidate_end(Range) noexcept override {}

  void make() {
    const PageCount frames{pages_ + pages_ / 256 + 64};
    Result<std::unique_ptr<Engine>> engine = Engine::create({.frames = frames, .present = frames});
    if (!engine) return;
    engine_ = std::move(*engine);
    Result<std::unique_ptr<AddressSpace>> space = engine_->create_space({.design = design_});
    if (!space) return;
    space_ = std::move(*space);
    is_full_ = space_->map(request()).has_value();
    for (uint64_t p = 0; p < pages_ && is_full_; ++p) {
      is_full_ =
          space_->handle_fault(kStart + p * kPageSize, Access::write) == FaultOutcome::resolved;
    }
    is_full_ = is_full_ && space_->add_notifier(*this).has_value();
  }
  void drop() {
    if (is_full_) space_->remove_notifier(*this);
    space_.reset();
    engine_.reset();
    is_full_ = false;
  }
  void be_rid(Worker& w, Part part) {
    if (!is_full_) {
      w.note_wrong(1);
      return;
    }
    // A space and a thread that have done this before: the first time gets memory for VMAs and
    // nodes, and registers the thread with RCU.
    bool good = true;
    for (int i = 0; i < 20 && good; ++i) {
      const Result<Address> other =
          space_->map({.length = kPageSize,
                       .prot = Prot::read,
                       .flags = MapFlags::private_ | MapFlags::anonymous});
      good = other && space_->unmap(*other, kPageSize);
    }
    told_ = 0;
    const uint64_t begin = cpu_ticks_begin();
    good &= space_->unmap(kStart, pages_ * kPageSize).has_value();
    const uint64_t end = cpu_ticks_end();
    if (!good || told_ == 0) w.note_wrong(1);
    w.note_once(pages_, part == Part::all ? end - begin : told_ - begin);
  }

 private:
  static constexpr Address kStart{uint64_t{1} << 40};
  MapRequest request() const {
    return {.address = kStart,
            .length = pages_ * kPageSize,
            .prot = Prot::read | Prot::write,
            .flags = MapFlags::private_ | MapFlags::anonymous | MapFlags::fixed_noreplace};
  }

  const Design design_;
  const uint64_t pages_;
  uint64_t told_ = 0;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<AddressSpace> space_;
  bool is_full_ = false;
};

void add_cases(std::vector<Case>& cases, FreedPages& freed, Design design, uint64_t pages) {
  for (const FreedPages::Part part : {FreedPages::Part::all, FreedPages::Part::held_for_write}) {
    const auto work = [&freed, part](Worker& w) { freed.be_rid(w, part); };
    cases.push_back({.scenario = kScenario,
                     .variant = part == FreedPages::Part::all ? "pages" : "pages-held-for-write",
                     .subject = std::string(design_name(design)),
                     .ranges = pages,
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
    std::list<FreedPages> pages;
    std::vector<Case> cases;
    if (rows.empty()) limits.add_cases(cases, kScenario);
    for (const Design design : options.designs) {
      add_cases(cases, pages.emplace_back(design, 2 * ranges), design, 2 * ranges);
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

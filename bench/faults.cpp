#include "bench/faults.h"

#include <sys/mman.h>

#include <algorithm>
#include <memory>

#include "bench/kernel_area.h"
#include "bench/subjects.h"
#include "pervma/pervma.h"

namespace pervma::bench {

namespace {

constexpr const char* kScenario = "faults";
constexpr unsigned kPages = 256;  // of one thread, touched one after the other
constexpr uint64_t kArea = kPages * kPageSize;
constexpr uint64_t kAreaStep = 2 * kArea;  // so that no two threads share a page table
constexpr unsigned kHugePages = 512;       // small ones in a huge one
constexpr uint64_t kHuge = kHugePages * kPageSize;

class KernelMemory {
 public:
  explicit KernelMemory(unsigned threads) : area_(threads * kAreaStep) {
    good_ = static_cast<bool>(area_);
    for (unsigned t = 0; t < threads && good_; ++t) good_ = area_.map(t * kAreaStep, kArea);
  }
  bool good() const noexcept { return good_; }
  uint64_t area(unsigned thread) const noexcept { return area_.start() + thread * kAreaStep; }
  static bool touch(uint64_t a, Access access) noexcept {
    if (access == Access::read) return KernelArea::read(a) == 0;
    KernelArea::write(a);
    return true;
  }
  static bool discard(uint64_t a) noexcept {
    return madvise(KernelArea::pointer(a), kArea, MADV_DONTNEED) == 0;
  }

 private:
  KernelArea area_;
  bool good_ = false;
};

class SoftMemory {
 public:
  SoftMemory(Design design, unsigned threads, uint64_t ranges) {
    // As an embedder makes one: nothing is made present, and there is more room than is used.
    Result<std::unique_ptr<Engine>> engine = Engine::create();
    if (!engine) return;
    engine_ = std::move(*engine);
    Result<std::unique_ptr<AddressSpace>> space =
        engine_->create_space({.design = design, .max_map_count = ranges + threads + 1024});
    if (!space) return;
    space_ = std::move(*space);
    good_ = true;
    for (uint64_t i = 0; i < ranges && good_; ++i) good_ = map(kOthers + 2 * i * kPageSize, 1);
    for (unsigned t = 0; t < threads && good_; ++t) {
      good_ = map(area(t), kPages) && map(huge_area(t), kHugePages);
    }
  }
  bool good() const noexcept { return good_; }
  static uint64_t area(unsigned thread) noexcept { return kFirst + thread * kAreaStep; }
  static uint64_t huge_area(unsigned thread) noexcept { return kFirstHuge + thread * 2 * kHuge; }
  bool touch(uint64_t a, Access access) {
    return space_->handle_fault(Address{a}, access) == FaultOutcome::resolved;
  }
  bool discard(uint64_t a, uint64_t bytes = kArea) {
    return space_->advise(Address{a}, bytes, Advice::dontneed).has_value();
  }
  bool collapse(uint64_t a) {
    return space_->advise(Address{a}, kHuge, Advice::collapse).has_value();
  }
  // The next store to the huge page faults.
  bool take_and_give_rights(uint64_t a) {
    return space_->protect(Address{a}, kHuge, Prot::read).has_value() &&
           space_->protect(Address{a}, kHuge, Prot::read | Prot::write).has_value();
  }
  Design design() const noexcept { return space_->design(); }

 private:
  static constexpr uint64_t kFirst = uint64_t{1} << 40;
  static constexpr uint64_t kOthers = uint64_t{1} << 41;
  static constexpr uint64_t kFirstHuge = uint64_t{1} << 42;

  bool map(uint64_t a, uint64_t pages) {
    return space_
        ->map({.address = Address{a},
               .length = pages * kPageSize,
               .prot = Prot::read | Prot::write,
               .flags = MapFlags::private_ | MapFlags::anonymous | MapFlags::fixed_noreplace})
        .has_value();
  }

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<AddressSpace> space_;
  bool good_ = false;
};

struct Variant {
  const char* name;
  Access access;
  bool is_read_first = false;
  bool is_drop_measured = false;
};
constexpr Variant kVariants[] = {
    {.name = "anon-write", .access = Access::write},
    {.name = "anon-read", .access = Access::read},
    {.name = "write-after-read", .access = Access::write, .is_read_first = true},
    {.name = "write-and-drop", .access = Access::write, .is_drop_measured = true},
};

template <class S>
void fault(S& s, const Variant& v, Worker& w) {
  const uint64_t a = s.area(w.index());
  uint64_t wrong = 0;
  const auto begin_anew = [&] {
    if (!s.discard(a)) ++wrong;
    for (unsigned i = 0; v.is_read_first && i < kPages; ++i) {
      if (!s.touch(a + i * kPageSize, Access::read)) ++wrong;
    }
  };
  begin_anew();
  if (v.is_drop_measured) {
    const auto whole_round = [&] {
      for (unsigned i = 0; i < kPages; ++i) {
        if (!s.touch(a + i * kPageSize, v.access)) ++wrong;
      }
      if (!s.discard(a)) ++wrong;
    };
    w.run<1>(whole_round, kPages);
    return w.note_wrong(wrong);
  }
  w.run_undone(
      kPages,
      [&](unsigned i) {
        if (!s.touch(a + i * kPageSize, v.access)) ++wrong;
      },
      [&](unsigned i) {
        if (i == 0) begin_anew();
      });
  w.note_wrong(wrong);
}

// Of 512 small pages, which are written and taken away again without being measured.
void collapse(SoftMemory& s, Worker& w) {
  const uint64_t a = s.huge_area(w.index());
  uint64_t wrong = 0;
  const auto begin_anew = [&] {
    if (!s.discard(a, kHuge)) ++wrong;
    for (unsigned i = 0; i < kHugePages; ++i) {
      if (!s.touch(a + i * kPageSize, Access::write)) ++wrong;
    }
  };
  begin_anew();
  w.run_undone(
      1,
      [&](unsigned) {
        if (!s.collapse(a)) ++wrong;
      },
      [&](unsigned) { begin_anew(); });
  w.note_wrong(wrong);
}

// One fault that gives 2 MiB the right to be written back, which two mprotects took.
void write_to_huge(SoftMemory& s, Worker& w) {
  const uint64_t a = s.huge_area(w.index());
  uint64_t wrong = 0;
  if (!s.touch(a, Access::write) || !s.collapse(a) || !s.take_and_give_rights(a)) ++wrong;
  w.run_undone(
      1,
      [&](unsigned) {
        if (!s.touch(a, Access::write)) ++wrong;
      },
      [&](unsigned) {
        if (!s.take_and_give_rights(a)) ++wrong;
      });
  w.note_wrong(wrong);
}

void add_huge_cases(std::vector<Case>& cases, SoftMemory& s, uint64_t ranges, unsigned threads) {
  const auto add = [&](const char* variant, void (*work)(SoftMemory&, Worker&)) {
    cases.push_back({.scenario = kScenario,
                     .variant = variant,
                     .subject = std::string(design_name(s.design())),
                     .ranges = ranges,
                     .crews = {{.role = {}, .threads = threads, .work = [&s, work](Worker& w) {
                                  work(s, w);
                                }}}});
  };
  add("collapse", collapse);
  add("write-to-huge", write_to_huge);
}

template <class S>
void add_cases(std::vector<Case>& cases, std::string_view subject, S& s, uint64_t ranges,
               unsigned threads) {
  for (const Variant& v : kVariants) {
    cases.push_back({.scenario = kScenario,
                     .variant = v.name,
                     .subject = std::string(subject),
                     .ranges = ranges,
                     .crews = {{.role = {}, .threads = threads, .work = [&s, v](Worker& w) {
                                  fault(s, v, w);
                                }}}});
  }
}

}  // namespace

BenchResult bench_faults(const BenchOptions& options) {
  std::vector<BenchRow> rows;
  const Limits limits;
  const unsigned most = *std::ranges::max_element(options.threads);
  for (const uint64_t ranges : options.ranges) {
    std::vector<Case> cases;
    if (rows.empty()) limits.add_cases(cases, kScenario);
    std::unique_ptr<KernelMemory> kernel;
    if (options.peers == Peers::measured) {
      kernel = std::make_unique<KernelMemory>(most);
      if (!kernel->good()) return std::unexpected(no_room_for(kScenario, ranges));
    }
    std::vector<std::unique_ptr<SoftMemory>> spaces;
    for (const Design design : options.designs) {
      spaces.push_back(std::make_unique<SoftMemory>(design, most, ranges));
      if (!spaces.back()->good()) return std::unexpected(no_room_for(kScenario, ranges));
    }
    for (const unsigned threads : options.threads) {
      if (kernel != nullptr) add_cases(cases, "kernel", *kernel, ranges, threads);
      for (const auto& s : spaces) {
        add_cases(cases, design_name(s->design()), *s, ranges, threads);
        add_huge_cases(cases, *s, ranges, threads);
      }
    }
    BenchResult some = run_cases(cases, options.run);
    if (!some) return some;
    rows.insert(rows.end(), some->begin(), some->end());
  }
  return rows;
}

}  // namespace pervma::bench

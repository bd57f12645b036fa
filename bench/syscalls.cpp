#include "bench/syscalls.h"

#include <sys/mman.h>

#include <array>
#include <memory>
#include <span>

#include "bench/kernel_area.h"
#include "bench/subjects.h"
#include "pervma/pervma.h"

namespace pervma::bench {

namespace {

constexpr const char* kScenario = "syscalls";
constexpr uint64_t kPlaces = 64;     // that operations take turns at
constexpr uint64_t kPlacePages = 8;  // four of them used, so that no two places touch
constexpr uint64_t kFour = 4 * kPageSize;

// Where everything lies: first the VMAs that are only there, then the places.
struct Ground {
  uint64_t start = 0;
  uint64_t ranges = 0;
  uint64_t vma(uint64_t i) const noexcept { return start + 2 * i * kPageSize; }
  uint64_t place(uint64_t i) const noexcept {
    return vma(ranges) + (i % kPlaces) * kPlacePages * kPageSize;
  }
  uint64_t bytes() const noexcept { return place(0) + kPlaces * kPlacePages * kPageSize - start; }
};

// The system calls themselves, in this process.
class Kernel {
 public:
  explicit Kernel(uint64_t ranges)
      : area_(Ground{.ranges = ranges}.bytes()),
        ground_{.start = area_.start(), .ranges = ranges},
        good_(area_) {
    for (uint64_t i = 0; i < ranges && good_; ++i) good_ = map(ground_.vma(i), kPageSize);
  }

  bool good() const noexcept { return good_; }
  const Ground& ground() const noexcept { return ground_; }

  static bool map(uint64_t a, uint64_t bytes) noexcept {
    return mmap(KernelArea::pointer(a), bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == KernelArea::pointer(a);
  }
  static bool unmap(uint64_t a, uint64_t bytes) noexcept {
    return munmap(KernelArea::pointer(a), bytes) == 0;
  }
  static bool protect(uint64_t a, uint64_t bytes, Prot prot) noexcept {
    return mprotect(KernelArea::pointer(a), bytes, static_cast<int>(prot)) == 0;
  }
  static bool discard(uint64_t a, uint64_t bytes) noexcept {
    return madvise(KernelArea::pointer(a), bytes, MADV_DONTNEED) == 0;
  }
  static bool touch(uint64_t a) noexcept {
    KernelArea::write(a);
    return true;
  }
  static bool move(uint64_t from, uint64_t bytes, uint64_t to) noexcept {
    return mremap(KernelArea::pointer(from), bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
                  KernelArea::pointer(to)) == KernelArea::pointer(to);
  }

 private:
  KernelArea area_;
  const Ground ground_;
  bool good_;
};

// The same on a space of one design.
class Engines {
 public:
  Engines(Design design, uint64_t ranges) {
    ground_ = {.start = uint64_t{1} << 40, .ranges = ranges};
    Result<std::unique_ptr<Engine>> engine = Engine::create({.frames = {uint64_t{1} << 18}});
    if (!engine) return;
    engine_ = std::move(*engine);
    Result<std::unique_ptr<AddressSpace>> space =
        engine_->create_space({.design = design, .max_map_count = ranges + 1024});
    if (!space) return;
    space_ = std::move(*space);
    good_ = true;
    for (uint64_t i = 0; i < ranges && good_; ++i) good_ = map(ground_.vma(i), kPageSize);
  }

  bool good() const noexcept { return good_; }
  const Ground& ground() const noexcept { return ground_; }

  bool map(uint64_t a, uint64_t bytes) {
    return space_
        ->map({.address = Address{a},
               .length = bytes,
               .prot = Prot::read | Prot::write,
               .flags = MapFlags::private_ | MapFlags::anonymous | MapFlags::fixed_noreplace})
        .has_value();
  }
  bool unmap(uint64_t a, uint64_t bytes) { return space_->unmap(Address{a}, bytes).has_value(); }
  bool protect(uint64_t a, uint64_t bytes, Prot prot) {
    return space_->protect(Address{a}, bytes, prot).has_value();
  }
  bool discard(uint64_t a, uint64_t bytes) {
    return space_->advise(Address{a}, bytes, Advice::dontneed).has_value();
  }
  bool touch(uint64_t a) {
    constexpr std::array kByte{std::byte{1}};
    return space_->store(Address{a}, kByte) == FaultOutcome::resolved;
  }
  bool move(uint64_t from, uint64_t bytes, uint64_t to) {
    return space_
        ->remap({.old_address = Address{from},
                 .old_length = bytes,
                 .new_length = bytes,
                 .flags = RemapFlags::maymove | RemapFlags::fixed,
                 .new_address = Address{to}})
        .has_value();
  }

 private:
  Ground ground_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<AddressSpace> space_;
  bool good_ = false;
};

template <class S>
void map_and_unmap(S& s, Worker& w) {
  uint64_t wrong = 0;
  uint64_t i = 0;
  w.run<16>([&] {
    const uint64_t a = s.ground().place(i++);
    if (!s.map(a, kFour) || !s.unmap(a, kFour)) ++wrong;
  });
  w.note_wrong(wrong);
}

template <class S>
void protect(S& s, Worker& w) {
  const uint64_t a = s.ground().place(0);
  uint64_t wrong = s.map(a, kFour) && s.touch(a) && s.touch(a + kPageSize) ? 0 : 1;
  bool writable = true;
  w.run<16>([&] {
    writable = !writable;
    const Prot prot = writable ? Prot::read | Prot::write : Prot::read;
    if (!s.protect(a + kPageSize, kPageSize, prot)) ++wrong;
  });
  if (!s.unmap(a, kFour)) ++wrong;
  w.note_wrong(wrong);
}

template <class S>
void discard(S& s, Worker& w) {
  const uint64_t a = s.ground().place(0);
  uint64_t wrong = s.map(a, kFour) ? 0 : 1;
  w.run<16>([&] {
    if (!s.discard(a + kPageSize, kPageSize) || !s.touch(a + kPageSize)) ++wrong;
  });
  if (!s.unmap(a, kFour)) ++wrong;
  w.note_wrong(wrong);
}

template <class S>
void move(S& s, Worker& w) {
  const std::array places{s.ground().place(0), s.ground().place(1)};
  uint64_t wrong = s.map(places[0], kPageSize) && s.touch(places[0]) ? 0 : 1;
  unsigned at = 0;
  w.run<16>([&] {
    if (!s.move(places[at], kPageSize, places[1 - at])) ++wrong;
    at = 1 - at;
  });
  if (!s.unmap(places[at], kPageSize)) ++wrong;
  w.note_wrong(wrong);
}

template <class S>
void add_cases(std::vector<Case>& cases, std::string_view subject, S& s) {
  struct Variant {
    const char* name;
    void (*work)(S&, Worker&);
  };
  constexpr Variant kVariants[] = {{"map+unmap", map_and_unmap<S>},
                                   {"protect", protect<S>},
                                   {"dontneed", discard<S>},
                                   {"remap", move<S>}};
  for (const Variant& v : kVariants) {
    cases.push_back(
        {.scenario = kScenario,
         .variant = v.name,
         .subject = std::string(subject),
         .ranges = s.ground().ranges,
         .crews = {{.role = {}, .threads = 1, .work = [&s, v](Worker& w) { v.work(s, w); }}}});
  }
}

}  // namespace

BenchResult bench_syscalls(const BenchOptions& options) {
  std::vector<BenchRow> rows;
  for (const uint64_t ranges : options.ranges) {
    std::vector<Case> cases;
    const auto kernel = std::make_unique<Kernel>(ranges);
    if (kernel->good()) add_cases(cases, "kernel", *kernel);
    std::vector<std::unique_ptr<Engines>> engines;
    engines.reserve(options.designs.size());
    for (const Design design : options.designs) {
      engines.push_back(std::make_unique<Engines>(design, ranges));
      if (!engines.back()->good()) return std::unexpected(no_room_for(kScenario, ranges));
      add_cases(cases, design_name(design), *engines.back());
    }
    BenchResult some = run_cases(cases, options.run);
    if (!some) return some;
    rows.insert(rows.end(), some->begin(), some->end());
  }
  return rows;
}

}  // namespace pervma::bench

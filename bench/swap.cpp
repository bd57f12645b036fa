#include "bench/swap.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <list>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "bench/subjects.h"
#include "pervma/pervma.h"

namespace pervma::bench {

namespace {

constexpr const char* kScenario = "swap";

enum class Kind : uint8_t { lz4, zstd, file };

Result<std::unique_ptr<PageStore>> make_store(Kind kind, PageCount capacity) {
  if (kind != Kind::file) {
    return make_compressed_store(
        {.compression = kind == Kind::lz4 ? Compression::lz4 : Compression::zstd,
         .capacity = capacity,
         .memory = capacity.bytes()});
  }
  const char* const set = std::getenv("TMPDIR");
  const std::string path = fmt::format("{}/pervma_bench_swap.{}",
                                       set != nullptr && *set != 0 ? set : "/var/tmp", getpid());
  return make_file_store(path.c_str(), capacity);
}

class WorkingSet {
 public:
  WorkingSet(Design design, Kind kind, uint64_t pages)
      : design_(design), kind_(kind), pages_(pages) {}

  // Before each repeat; the store begins empty.
  void make() {
    Result<std::unique_ptr<PageStore>> store = make_store(kind_, {2 * pages_});
    if (!store) return;
    const PageCount frames{pages_ / 4 + pages_ / 512 + 64};
    Result<std::unique_ptr<Engine>> engine =
        Engine::create({.frames = frames, .present = frames, .swap = std::move(*store)});
    if (!engine) return;
    engine_ = std::move(*engine);
    Result<std::unique_ptr<AddressSpace>> space = engine_->create_space({.design = design_});
    if (!space) return;
    space_ = std::move(*space);
    const Result<Address> at = space_->map({.length = pages_ * kPageSize,
                                            .prot = Prot::read | Prot::write,
                                            .flags = MapFlags::private_ | MapFlags::anonymous});
    if (!at) return;
    start_ = *at;
    good_ = fill();
  }
  void drop() {
    space_.reset();
    engine_.reset();
    good_ = false;
  }

  void work(Worker& w) {
    uint64_t wrong = good_ ? 0 : 1;
    const uint64_t mine = good_ ? (pages_ - w.index() + w.count() - 1) / w.count() : 0;
    std::vector<uint64_t> known(mine, 0);
    std::mt19937_64 random(w.seed() + w.index());
    w.run<4>([&] {
      if (mine == 0) return;
      const uint64_t i = random() % mine;
      const Address a = start_ + (i * w.count() + w.index()) * kPageSize;
      uint64_t value = 0;
      if (space_->load(a, std::as_writable_bytes(std::span(&value, 1))) != FaultOutcome::resolved ||
          value != known[i]) {
        ++wrong;
      }
      known[i] = value + 1;
      if (space_->store(a, std::as_bytes(std::span(&known[i], 1))) != FaultOutcome::resolved) {
        ++wrong;
      }
    });
    w.note_wrong(wrong);
  }

 private:
  // A zero to count with, noise, and zeros to the end.
  bool fill() {
    std::mt19937_64 random(1);
    std::array<uint64_t, kPageSize / sizeof(uint64_t)> page{};
    for (uint64_t p = 0; p < pages_; ++p) {
      for (size_t i = 1; i < page.size() / 2; ++i) page[i] = random();
      if (space_->store(start_ + p * kPageSize, std::as_bytes(std::span(page))) !=
          FaultOutcome::resolved) {
        return false;
      }
    }
    return true;
  }

  const Design design_;
  const Kind kind_;
  const uint64_t pages_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<AddressSpace> space_;
  Address start_{0};
  bool good_ = false;
};

}  // namespace

BenchResult bench_swap(const BenchOptions& options) {
  struct Variant {
    const char* name;
    Kind kind;
  };
  constexpr Variant kVariants[] = {{"lz4", Kind::lz4}, {"zstd", Kind::zstd}, {"file", Kind::file}};
  std::vector<BenchRow> rows;
  const Limits limits;
  for (const uint64_t pages : options.ranges) {
    std::vector<Case> cases;
    std::list<WorkingSet> sets;
    if (rows.empty()) limits.add_cases(cases, kScenario);
    for (const unsigned threads : options.threads) {
      for (const Variant& v : kVariants) {
        for (const Design design : options.designs) {
          WorkingSet& set = sets.emplace_back(design, v.kind, pages);
          cases.push_back({.scenario = kScenario,
                           .variant = v.name,
                           .subject = std::string(design_name(design)),
                           .ranges = pages,
                           .crews = {{.role = {},
                                      .threads = threads,
                                      .work = [&set](Worker& w) { set.work(w); }}},
                           .before = [&set] { set.make(); },
                           .after = [&set] { set.drop(); }});
        }
      }
    }
    BenchResult some = run_cases(cases, options.run);
    if (!some) return some;
    rows.insert(rows.end(), some->begin(), some->end());
  }
  return rows;
}

}  // namespace pervma::bench

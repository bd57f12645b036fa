#include "bench/zerocopy.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <span>

#include "bench/subjects.h"
#include "pervma/pervma.h"

namespace pervma::bench {

namespace {

constexpr const char* kScenario = "zerocopy";
constexpr uint64_t kBatch = 16;  // pages received at once

class Server {
 public:
  Server(Design design, unsigned threads, uint64_t ranges) {
    const PageCount frames{threads * kBatch * 128 + ranges + 4096};
    Result<std::unique_ptr<Engine>> engine = Engine::create({.frames = frames, .present = frames});
    if (!engine) return;
    engine_ = std::move(*engine);
    Result<std::unique_ptr<AddressSpace>> space =
        engine_->create_space({.design = design, .max_map_count = ranges + threads + 1024});
    if (!space) return;
    space_ = std::move(*space);
    good_ = map(kAdvised, 8);
    for (uint64_t i = 0; i < ranges && good_; ++i) good_ = map(kOthers + 2 * i * kPageSize, 1);
    for (unsigned t = 0; t < threads && good_; ++t) good_ = map(inbox(t), kBatch);
  }
  bool good() const noexcept { return good_; }
  Design design() const noexcept { return space_->design(); }

  void receive(Worker& w) {
    const Address at = inbox(w.index());
    uint64_t wrong = 0;
    uint64_t value = w.seed();
    w.run<4>([&] {
      if (!receive_once(at, ++value)) ++wrong;
    });
    w.note_wrong(wrong);
  }
  void advise(Worker& w) {
    uint64_t wrong = 0;
    bool is_random = false;
    w.run<4>([&] {
      is_random = !is_random;
      if (!space_->advise(kAdvised + 2 * kPageSize, 4 * kPageSize,
                          is_random ? Advice::random : Advice::normal)) {
        ++wrong;
      }
    });
    w.note_wrong(wrong);
  }

 private:
  static constexpr Address kFirst{uint64_t{1} << 40};
  static constexpr Address kOthers{uint64_t{1} << 41};
  static constexpr Address kAdvised{uint64_t{1} << 42};

  static Address inbox(unsigned thread) noexcept {
    return kFirst + uint64_t{thread} * 512 * kPageSize;
  }
  bool map(Address a, uint64_t pages) {
    return space_
        ->map({.address = a,
               .length = pages * kPageSize,
               .prot = Prot::read | Prot::write,
               .flags = MapFlags::private_ | MapFlags::anonymous | MapFlags::fixed_noreplace})
        .has_value();
  }
  bool receive_once(Address at, uint64_t value) {
    std::array<PageBuffer, kBatch> pages;
    for (PageBuffer& page : pages) {
      Result<PageBuffer> had = engine_->alloc_page();
      if (!had) return false;
      page = std::move(*had);
      std::memcpy(page.bytes().data(), &value, sizeof value);
    }
    if (!space_->insert_pages(at, pages)) return false;
    for (uint64_t p = 0; p < kBatch; ++p) {
      uint64_t back = 0;
      if (space_->load(at + p * kPageSize, std::as_writable_bytes(std::span(&back, 1))) !=
              FaultOutcome::resolved ||
          back != value) {
        return false;
      }
    }
    return space_->advise(at, kBatch * kPageSize, Advice::dontneed).has_value();
  }

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<AddressSpace> space_;
  bool good_ = false;
};

}  // namespace

BenchResult bench_zerocopy(const BenchOptions& options) {
  std::vector<BenchRow> rows;
  const Limits limits;
  const unsigned most = *std::ranges::max_element(options.threads);
  for (const uint64_t ranges : options.ranges) {
    std::vector<Case> cases;
    std::vector<std::unique_ptr<Server>> servers;
    if (rows.empty()) limits.add_cases(cases, kScenario);
    for (const Design design : options.designs) {
      servers.push_back(std::make_unique<Server>(design, most, ranges));
      if (!servers.back()->good()) return std::unexpected(no_room_for(kScenario, ranges));
    }
    for (const unsigned threads : options.threads) {
      for (const auto& s : servers) {
        cases.push_back({.scenario = kScenario,
                         .variant = {},
                         .subject = std::string(design_name(s->design())),
                         .ranges = ranges,
                         .crews = {{.role = "receiver",
                                    .threads = threads - 1,
                                    .work = [&s](Worker& w) { s->receive(w); }},
                                   {.role = "adviser", .threads = 1, .work = [&s](Worker& w) {
                                      s->advise(w);
                                    }}}});
      }
    }
    BenchResult some = run_cases(cases, options.run);
    if (!some) return some;
    rows.insert(rows.end(), some->begin(), some->end());
  }
  return rows;
}

}  // namespace pervma::bench

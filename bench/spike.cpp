#include "bench/spike.h"

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>

#include "bench/design_subjects.h"
#include "bench/subjects.h"

namespace pervma::bench {

namespace {

constexpr const char* kScenario = "spike";
constexpr uint64_t kStack = uint64_t{8} << 20;
constexpr uint64_t kTls = 2 * kPageSize;
constexpr unsigned kStackPages = 3;  // that a starting thread touches

bool store_and_load(AddressSpace& space, Address at, uint64_t value) {
  std::array<std::byte, sizeof value> bytes{};
  std::memcpy(bytes.data(), &value, sizeof value);
  if (space.store(at, bytes) != FaultOutcome::resolved) return false;
  uint64_t back = 0;
  if (space.load(at, std::as_writable_bytes(std::span(&back, 1))) != FaultOutcome::resolved) {
    return false;
  }
  return back == value;
}

// One thread's start and end. False: something went wrong.
bool start_and_end(AddressSpace& space, uint64_t value) {
  const MapFlags flags = MapFlags::private_ | MapFlags::anonymous | MapFlags::noreserve;
  const Prot rights = Prot::read | Prot::write;
  const Result<Address> stack = space.map(
      {.length = kStack + kPageSize, .prot = Prot::none, .flags = flags | MapFlags::stack});
  if (!stack || !space.protect(*stack + kPageSize, kStack, rights)) return false;
  const Result<Address> tls = space.map({.length = kTls, .prot = rights, .flags = flags});
  if (!tls) return false;
  bool good = true;
  const Address top = *stack + kPageSize + kStack;
  for (unsigned i = 0; i < kStackPages; ++i) {
    good &= store_and_load(space, top - i * kPageSize - sizeof value, value + i);
  }
  good &= store_and_load(space, *tls, value);
  good &= store_and_load(space, *tls + kPageSize, value);
  good &= space.unmap(*tls, kTls).has_value();
  return space.unmap(*stack, kStack + kPageSize).has_value() && good;
}

}  // namespace

BenchResult bench_spike(const BenchOptions& options) {
  std::vector<BenchRow> rows;
  const Limits limits;
  for (const uint64_t ranges : options.ranges) {
    const Layout layout{.ranges = ranges};
    std::vector<DesignSpace> spaces;
    for (const Design design : options.designs) {
      spaces.push_back(make_design_space({.design = design}, ranges));
      if (!spaces.back().fill(layout)) return std::unexpected(no_room_for(kScenario, ranges));
    }
    std::vector<Case> cases;
    if (rows.empty()) limits.add_cases(cases, kScenario);
    for (const unsigned threads : options.threads) {
      for (const DesignSpace& s : spaces) {
        const auto work = [&space = *s.space](Worker& w) {
          uint64_t failed = 0;
          uint64_t value = w.seed();
          w.run<1>([&] { failed += start_and_end(space, ++value) ? 0 : 1; });
          w.note_wrong(failed);
        };
        cases.push_back({.scenario = kScenario,
                         .variant = {},
                         .subject = std::string(design_name(s.space->design())),
                         .ranges = ranges,
                         .crews = {{.role = {}, .threads = threads, .work = work}}});
      }
    }
    BenchResult some = run_cases(cases, options.run);
    if (!some) return some;
    rows.insert(rows.end(), some->begin(), some->end());
  }
  return rows;
}

}  // namespace pervma::bench

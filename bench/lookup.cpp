#include "bench/lookup.h"

#include <array>
#include <atomic>
#include <random>

#include "bench/sampler.h"
#include "pervma/engine.h"
#include "sync/rcu.h"
#include "vm/lookup.h"

namespace pervma::bench {

namespace {

constexpr size_t kBatch = 256;
constexpr size_t kBatches = 400;
constexpr uint64_t kBase = uint64_t{1} << 32;

// The addresses to look up, in random order, a power of two of them.
std::vector<Address> addresses(uint64_t ranges) {
  std::mt19937_64 random(1);
  std::vector<Address> all(1 << 14);
  for (Address& a : all) a = Address{kBase + (random() % ranges) * 2 * kPageSize + 123};
  return all;
}

// A space with the ranges of the benchmark.
Result<std::unique_ptr<AddressSpace>> space_with(Engine& engine, uint64_t ranges) {
  Result<std::unique_ptr<AddressSpace>> space =
      engine.create_space({.design = Design::refcount, .max_map_count = ranges + 16});
  for (uint64_t i = 0; i < ranges && space; ++i) {
    const Result<Address> mapped =
        (*space)->map({.address = Address{kBase + i * 2 * kPageSize},
                       .length = kPageSize,
                       .prot = Prot::read | Prot::write,
                       .flags = MapFlags::private_ | MapFlags::anonymous | MapFlags::fixed,
                       .file = {},
                       .offset = 0});
    if (!mapped) return std::unexpected(mapped.error());
  }
  return space;
}

// The subjects of the benchmark, which take turns.
class LookupBench {
 public:
  LookupBench(const BasicAddressSpace<RefcountLock>& space, uint64_t ranges)
      : space_(space), where_(addresses(ranges)), mask_(where_.size() - 1) {}

  void round(Sampler& pair, Sampler& rcu, Sampler& walk, Sampler& lock) {
    pair.repeat(kBatches, kBatch, [&] {
      for (size_t k = 0; k < kBatch; ++k) {
        word_.fetch_add(1, std::memory_order_relaxed);
        word_.fetch_sub(1, std::memory_order_relaxed);
      }
    });
    rcu.repeat(kBatches, kBatch, [&] {
      for (size_t k = 0; k < kBatch; ++k) {
        const RcuReader reader;
        keep(k);
      }
    });
    walk.repeat(kBatches, kBatch, [&] {
      const RcuReader reader;
      for (size_t k = 0; k < kBatch; ++k) keep(space_.vma_at(next()));
    });
    lock.repeat(kBatches, kBatch, [&] {
      for (size_t k = 0; k < kBatch; ++k) {
        const auto found = space_.lock_vma_under_rcu(next());
        if (found.end == LookupEnd::locked) [[likely]] {
          space_.end_read(*found.vma, found.token);
        } else {
          ++missed_;
        }
      }
    });
  }
  uint64_t missed() const noexcept { return missed_; }

 private:
  Address next() noexcept { return where_[at_++ & mask_]; }

  const BasicAddressSpace<RefcountLock>& space_;
  const std::vector<Address> where_;
  const size_t mask_;
  size_t at_ = 0;
  uint64_t missed_ = 0;
  alignas(64) std::atomic<uint32_t> word_{1};
};

}  // namespace

Result<std::vector<BenchRow>> bench_lookup(const LookupOptions& options) {
  Result<std::unique_ptr<Engine>> engine = Engine::create();
  if (!engine) return std::unexpected(engine.error());
  Result<std::unique_ptr<AddressSpace>> space = space_with(**engine, options.ranges);
  if (!space) return std::unexpected(space.error());
  LookupBench bench(static_cast<BasicAddressSpace<RefcountLock>&>(**space), options.ranges);

  std::array<Sampler, 4> warm_up;
  bench.round(warm_up[0], warm_up[1], warm_up[2], warm_up[3]);
  std::array<Sampler, 4> samplers;
  for (uint32_t i = 0; i < options.repeats; ++i) {
    bench.round(samplers[0], samplers[1], samplers[2], samplers[3]);
  }
  if (bench.missed() != 0) return std::unexpected(Error::fault);

  constexpr std::array<const char*, 4> kSubjects{"limit:pair", "limit:rcu", "limit:walk",
                                                 "refcount"};
  std::vector<BenchRow> rows;
  for (size_t i = 0; i < samplers.size(); ++i) {
    BenchRow row;
    row.scenario = "lookup";
    row.subject = kSubjects[i];
    row.ranges = i < 2 ? 0 : options.ranges;
    samplers[i].fill(row);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace pervma::bench

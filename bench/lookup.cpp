#include "bench/lookup.h"

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

}  // namespace

Result<std::vector<BenchRow>> bench_lookup(const LookupOptions& options) {
  Result<std::unique_ptr<Engine>> engine = Engine::create();
  if (!engine) return std::unexpected(engine.error());
  Result<std::unique_ptr<AddressSpace>> space =
      (*engine)->create_space({.design = Design::refcount, .max_map_count = options.ranges + 16});
  if (!space) return std::unexpected(space.error());
  for (uint64_t i = 0; i < options.ranges; ++i) {
    const Result<Address> mapped =
        (*space)->map({.address = Address{kBase + i * 2 * kPageSize},
                       .length = kPageSize,
                       .prot = Prot::read | Prot::write,
                       .flags = MapFlags::private_ | MapFlags::anonymous | MapFlags::fixed,
                       .file = {},
                       .offset = 0});
    if (!mapped) return std::unexpected(mapped.error());
  }
  const auto& typed = static_cast<BasicAddressSpace<RefcountLock>&>(**space);
  const std::vector<Address> where = addresses(options.ranges);
  const size_t mask = where.size() - 1;
  alignas(64) std::atomic<uint32_t> word{1};

  Sampler pair;
  Sampler rcu;
  Sampler walk;
  Sampler lock;
  size_t at = 0;
  uint64_t missed = 0;
  for (uint32_t i = 0; i <= options.repeats; ++i) {
    // The first round warms up and is not counted.
    Sampler warm_up;
    const auto into = [&](Sampler& s) -> Sampler& { return i == 0 ? warm_up : s; };
    into(pair).repeat(kBatches, kBatch, [&] {
      for (size_t k = 0; k < kBatch; ++k) {
        word.fetch_add(1, std::memory_order_relaxed);
        word.fetch_sub(1, std::memory_order_relaxed);
      }
    });
    into(rcu).repeat(kBatches, kBatch, [&] {
      for (size_t k = 0; k < kBatch; ++k) {
        const RcuReader reader;
        keep(k);
      }
    });
    into(walk).repeat(kBatches, kBatch, [&] {
      const RcuReader reader;
      for (size_t k = 0; k < kBatch; ++k) keep(typed.vma_at(where[at++ & mask]));
    });
    into(lock).repeat(kBatches, kBatch, [&] {
      for (size_t k = 0; k < kBatch; ++k) {
        const auto found = typed.lock_vma_under_rcu(where[at++ & mask]);
        if (found.end == LookupEnd::locked) [[likely]] {
          typed.end_read(*found.vma, found.token);
        } else {
          ++missed;
        }
      }
    });
  }
  if (missed != 0) return std::unexpected(Error::fault);

  std::vector<BenchRow> rows;
  const auto add = [&](const char* subject, uint64_t ranges, Sampler& sampler) {
    BenchRow row;
    row.scenario = "lookup";
    row.subject = subject;
    row.ranges = ranges;
    sampler.fill(row);
    rows.push_back(std::move(row));
  };
  add("limit:pair", 0, pair);
  add("limit:rcu", 0, rcu);
  add("limit:walk", options.ranges, walk);
  add("refcount", options.ranges, lock);
  return rows;
}

}  // namespace pervma::bench

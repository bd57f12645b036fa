// registration_cache.cpp: the memory registration cache of an RDMA library, on a RangeMap.
//
// Threads transfer from buffers anywhere in memory. A transfer needs its buffer registered with the
// device, which is slow, so registrations are kept: look up, and hold the registration for the
// whole transfer; on a miss register and insert; when the cache is full evict the least recently
// used; when memory is unmapped, invalidate what covered it. Eviction and invalidation retire: they
// wait for no transfer, and the last transfer that uses a registration ends it.
//
//   cmake --build build/release --target example_registration_cache
//   build/release/example_registration_cache
#include <pervma/range_map.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace {

using pervma::Address;
using pervma::Range;

constexpr uint64_t kPage = 4096;
constexpr size_t kCapacity = 64;
constexpr uint64_t kBuffers = 256;
constexpr int kThreads = 4;
constexpr int kTransfers = 20'000;

// What a device gives for a registered range.
struct Registration {
  uint32_t key;
  std::atomic<uint64_t> last_use{0};  // Relaxed: an old value only makes a worse eviction.
};

class Device {
 public:
  Registration* register_memory(Range) {
    ++registered_;
    return new Registration{.key = ++keys_};
  }
  void deregister(Registration* registration) noexcept {
    ++deregistered_;
    delete registration;
  }
  uint32_t registered() const { return registered_; }
  uint32_t deregistered() const { return deregistered_; }

 private:
  std::atomic<uint32_t> keys_{0};
  std::atomic<uint32_t> registered_{0};
  std::atomic<uint32_t> deregistered_{0};
};

class RegistrationCache {
 public:
  using Map = pervma::RangeMap<Registration*>;
  using Hold = pervma::RangeHold<Registration*>;

  explicit RegistrationCache(Device& device)
      : device_(device),
        map_(Map::create({.on_retired = &on_retired, .context = &device}).value()) {}
  ~RegistrationCache() { invalidate(Range{Address{0}, Address{~uint64_t{0}}}); }

  // The registration that covers the buffer, held for a transfer that any thread may complete.
  Hold get(Range buffer) {
    for (;;) {
      if (auto guard = map_.find(buffer.start)) {
        if (guard->range().contains(buffer)) {
          ++hits_;
          guard->value()->last_use.store(++clock_, std::memory_order_relaxed);
          return std::move(*guard).hand_over();
        }
      }
      ++misses_;
      add(buffer);
    }
  }

  // Before the memory goes: no later transfer finds a registration of it.
  void invalidate(Range memory) { invalidated_ += map_.write().value().retire_in(memory).value(); }

  void print() const {
    std::printf("hits %llu, misses %llu, evicted %llu, invalidated %llu, cached %zu\n",
                static_cast<unsigned long long>(hits_), static_cast<unsigned long long>(misses_),
                static_cast<unsigned long long>(evicted_),
                static_cast<unsigned long long>(invalidated_), map_.stats().ranges);
  }

 private:
  static void on_retired(void* context, Range, Registration* const& registration) noexcept {
    static_cast<Device*>(context)->deregister(registration);
  }

  // Registers outside the section, because it is slow; another thread may have been faster.
  void add(Range buffer) {
    Registration* const mine = device_.register_memory(buffer);
    mine->last_use.store(++clock_, std::memory_order_relaxed);
    auto writer = map_.write().value();
    if (const auto there = writer.find(buffer.start); there && there->range.contains(buffer)) {
      device_.deregister(mine);
      return;
    }
    // Registrations that cover only a part of the buffer give way to one that covers it all.
    invalidated_ += writer.retire_in(buffer).value();
    while (map_.stats().ranges >= kCapacity) evict(writer);
    writer.insert(buffer, mine).value();
  }

  void evict(Map::Writer& writer) {
    uint64_t oldest = ~uint64_t{0};
    Address victim{};
    const Address top{~uint64_t{0}};
    for (auto at = writer.find_next(Address{0}, top); at;
         at = writer.find_next(at->range.end, top)) {
      const uint64_t used = at->value->last_use.load(std::memory_order_relaxed);
      if (used < oldest) {
        oldest = used;
        victim = at->range.start;
      }
    }
    writer.retire(victim).value();
    ++evicted_;
  }

  Device& device_;
  Map map_;
  std::atomic<uint64_t> clock_{0};
  std::atomic<uint64_t> hits_{0};
  std::atomic<uint64_t> misses_{0};
  std::atomic<uint64_t> evicted_{0};
  std::atomic<uint64_t> invalidated_{0};
};

// Mostly a few hot buffers, now and then another one.
Range pick_buffer(std::mt19937_64& random) {
  const uint64_t n = random() % 10 != 0 ? random() % 16 : random() % kBuffers;
  const Address start{(1 + n * 8) * kPage};
  return {start, start + (1 + n % 8) * kPage};
}

void transfer(RegistrationCache& cache, unsigned seed) {
  std::mt19937_64 random(seed);
  uint64_t sum = 0;
  for (int i = 0; i < kTransfers; ++i) {
    const RegistrationCache::Hold registration = cache.get(pick_buffer(random));
    sum += registration.value()->key;  // The device works with the key until the hold ends.
  }
  (void)sum;
}

void unmap_now_and_then(RegistrationCache& cache, std::atomic<bool>& stop) {
  std::mt19937_64 random(99);
  while (!stop.load(std::memory_order_relaxed)) {
    cache.invalidate(pick_buffer(random));
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

}  // namespace

int main() {
  Device device;
  {
    RegistrationCache cache(device);
    std::atomic<bool> stop{false};
    std::thread unmapper([&] { unmap_now_and_then(cache, stop); });
    std::vector<std::thread> threads;
    threads.reserve(kThreads);
    for (unsigned i = 0; i < kThreads; ++i)
      threads.emplace_back([&, i] { transfer(cache, i + 1); });
    for (std::thread& thread : threads) thread.join();
    stop = true;
    unmapper.join();
    cache.print();
  }
  std::printf("registered %u, deregistered %u\n", device.registered(), device.deregistered());
  return device.registered() == device.deregistered() ? 0 : 1;
}

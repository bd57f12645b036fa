#include "bench/peers.h"

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>

#if defined(PERVMA_BENCH_ABSL)
#include <absl/container/btree_map.h>
#include <absl/synchronization/mutex.h>
#endif
#if defined(PERVMA_BENCH_BOOST)
#include <boost/icl/interval_map.hpp>
#include <boost/thread/shared_mutex.hpp>
#endif
#if defined(PERVMA_BENCH_TBB)
#include <oneapi/tbb/concurrent_map.h>
#include <oneapi/tbb/rw_mutex.h>
#endif

namespace pervma::bench {

namespace {

// What a range leads to: where it ends, and something of the owner's.
struct RangeValue {
  uint64_t end;
  uint64_t value;
};

// An ordered map by the ranges' starts, whatever the map and the lock.
template <class Ordered, class Mutex, class Shared, class Exclusive>
class StartMap {
 public:
  uint64_t find(uint64_t address, unsigned) {
    const Shared lock(mutex_);
    auto after = map_.upper_bound(address);
    if (after == map_.begin()) return kNothing;
    const auto& [start, range] = *--after;
    // The value as an owner would use it: under the lock.
    return address < range.end ? range.value : kNothing;
  }
  bool insert(uint64_t start, uint64_t end) {
    const Exclusive lock(mutex_);
    return insert_locked(start, end);
  }
  bool erase(uint64_t start, uint64_t end) {
    const Exclusive lock(mutex_);
    return erase_locked(start, end);
  }
  bool insert_and_erase(const uint64_t* starts, size_t n) {
    const Exclusive lock(mutex_);
    bool good = true;
    for (size_t i = 0; i < n; ++i) good &= insert_locked(starts[i], starts[i] + kPageSize);
    for (size_t i = 0; i < n; ++i) good &= erase_locked(starts[i], starts[i] + kPageSize);
    return good;
  }

 private:
  bool insert_locked(uint64_t start, uint64_t end) {
    const auto next = map_.lower_bound(start);
    if (next != map_.end() && next->first < end) return false;
    if (next != map_.begin() && std::prev(next)->second.end > start) return false;
    map_.emplace_hint(next, start, RangeValue{end, start});
    return true;
  }
  bool erase_locked(uint64_t start, uint64_t end) {
    const auto at = map_.find(start);
    if (at == map_.end() || at->second.end != end) return false;
    map_.erase(at);
    return true;
  }

  Mutex mutex_;
  Ordered map_;
};

using StdMap = StartMap<std::map<uint64_t, RangeValue>, std::shared_mutex,
                        std::shared_lock<std::shared_mutex>, std::unique_lock<std::shared_mutex>>;

#if defined(PERVMA_BENCH_ABSL)
struct AbslShared {
  explicit AbslShared(absl::Mutex& mutex) : lock(&mutex) {}
  absl::ReaderMutexLock lock;
};
struct AbslExclusive {
  explicit AbslExclusive(absl::Mutex& mutex) : lock(&mutex) {}
  absl::WriterMutexLock lock;
};
using AbslMap =
    StartMap<absl::btree_map<uint64_t, RangeValue>, absl::Mutex, AbslShared, AbslExclusive>;
#endif

#if defined(PERVMA_BENCH_TBB)
// Its erase is not safe beside other calls, so it has a lock as the others have.
class TbbMap {
 public:
  uint64_t find(uint64_t address, unsigned) {
    const tbb::rw_mutex::scoped_lock lock(mutex_, /*write=*/false);
    // It goes forward only: ranges are kept by their ends, and the first that ends beyond the
    // address is the one.
    const auto at = map_.upper_bound(address);
    return at != map_.end() && at->second.start <= address ? at->second.value : kNothing;
  }
  bool insert(uint64_t start, uint64_t end) {
    const tbb::rw_mutex::scoped_lock lock(mutex_, /*write=*/true);
    const auto next = map_.upper_bound(start);
    if (next != map_.end() && next->second.start < end) return false;
    map_.emplace(end, Entry{start, start});
    return true;
  }
  bool erase(uint64_t start, uint64_t end) {
    const tbb::rw_mutex::scoped_lock lock(mutex_, /*write=*/true);
    const auto at = map_.find(end);
    if (at == map_.end() || at->second.start != start) return false;
    map_.unsafe_erase(at);
    return true;
  }

 private:
  struct Entry {
    uint64_t start;
    uint64_t value;
  };
  tbb::rw_mutex mutex_;
  // The allocator that the other maps have, so that memory is compared alike.
  tbb::concurrent_map<uint64_t, Entry, std::less<>,
                      std::allocator<std::pair<const uint64_t, Entry>>>
      map_;
};
#endif

#if defined(PERVMA_BENCH_BOOST)
class IclMap {
 public:
  uint64_t find(uint64_t address, unsigned) {
    const boost::shared_lock<boost::shared_mutex> lock(mutex_);
    const auto at = map_.find(address);
    return at == map_.end() ? kNothing : at->second;
  }
  bool insert(uint64_t start, uint64_t end) {
    const boost::unique_lock<boost::shared_mutex> lock(mutex_);
    const auto range = Interval::right_open(start, end);
    if (boost::icl::intersects(map_, range)) return false;
    map_.insert({range, start});
    return true;
  }
  bool erase(uint64_t start, uint64_t end) {
    const boost::unique_lock<boost::shared_mutex> lock(mutex_);
    const auto at = map_.find(start);
    if (at == map_.end() || at->first != Interval::right_open(start, end)) return false;
    map_.erase(Interval::right_open(start, end));
    return true;
  }

 private:
  using Map = boost::icl::interval_map<uint64_t, uint64_t, boost::icl::partial_enricher>;
  using Interval = boost::icl::interval<uint64_t>;
  boost::shared_mutex mutex_;
  Map map_;
};
#endif

template <class Map>
SubjectMaker peer(const char* name) {
  return [name] { return std::make_unique<SubjectOf<Map>>(name); };
}

}  // namespace

std::vector<SubjectMaker> peer_makers() {
  return {
      peer<StdMap>("std::map+shared_mutex"),
#if defined(PERVMA_BENCH_ABSL)
      peer<AbslMap>("absl::btree_map+Mutex"),
#endif
#if defined(PERVMA_BENCH_BOOST)
      peer<IclMap>("boost::icl+shared_mutex"),
#endif
#if defined(PERVMA_BENCH_TBB)
      peer<TbbMap>("tbb::map+rw_mutex"),
#endif
  };
}

}  // namespace pervma::bench

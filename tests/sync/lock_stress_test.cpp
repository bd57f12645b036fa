// Several threads on a few VMAs of two spaces, doing everything at once: reads, writes, detach and
// reuse by the other space, stops, downgrades. What must hold is stated by plain fields: a read
// lock that coexists with a write lock tears them, and is a race to TSan.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "hooked_platform.h"
#include "sync/vma_lock_designs.h"

namespace pervma::test {
namespace {

constexpr int kThreads = 4;  // More than the CPUs of a small machine.
#if defined(__SANITIZE_ADDRESS__) || defined(PERVMA_TSAN)
constexpr int kSteps = 2'500;
#else
constexpr int kSteps = 10'000;
#endif

struct Random {
  uint64_t state;
  uint64_t next(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % below;
  }
};

// A platform whose hooks yield now and then, so that threads meet in the middle of the protocols
// even where there are few CPUs.
template <class Base>
struct Jittery : Base {
  static void hook(Hook) noexcept {
    thread_local uint32_t n = 0;
    if (++n % 8 == 0) std::this_thread::yield();
  }
};

template <class P, class L>
class Stress {
  using Mm = BasicMmapLock<P>;
  using Lock = L;

  struct StressVma {
    typename Lock::Near near;
    typename Lock::Far far;
    // Plain, under the VMA's lock.
    uint64_t left = 0;
    uint64_t right = 0;
    const Mm* space = nullptr;
  };
  struct Space {
    Mm mm;
    // Plain, under the mmap lock.
    uint64_t generation = 0;
    uint64_t generation_copy = 0;
  };

 public:
  void run() {
    for (StressVma& vma : vmas_) put_in(vma, spaces_[0]);
    std::vector<std::thread> threads;
    threads.reserve(kThreads);
    for (int t = 0; t < kThreads; ++t) threads.emplace_back([this, t] { work(t); });
    // Stops whoever has a write under way, again and again, until all are done.
    std::thread stopper([this] {
      for (unsigned i = 0; running_.load(std::memory_order_relaxed) != 0; ++i) {
        current_stop(i % kThreads).request_stop();
        for (int pause = 0; pause < 8; ++pause) std::this_thread::yield();
      }
    });
    for (std::thread& thread : threads) thread.join();
    stopper.join();
    check();
  }

 private:
  void work(int self) {
    Random random{static_cast<uint64_t>(self) * 7919 + 17};
    for (int i = 0; i < kSteps; ++i) {
      StressVma& vma = vmas_[random.next(kVmas)];
      Space& space = spaces_[random.next(2)];
      switch (random.next(16)) {
        case 0: write(vma, space, fresh_stop(self)); break;
        case 1: move(vma, space, spaces_[&space == &spaces_[0] ? 1 : 0]); break;
        case 2: downgrade_after_write(space); break;
        case 3: read_space(space); break;
        case 4: read_under_mmap_lock(vma, space); break;
        default: read(vma, space); break;
      }
    }
    running_.fetch_sub(1, std::memory_order_relaxed);
  }

  std::stop_token fresh_stop(int thread) {
    const std::lock_guard guard(stops_mutex_);
    return (stops_[thread] = std::stop_source()).get_token();
  }
  std::stop_source current_stop(unsigned thread) {
    const std::lock_guard guard(stops_mutex_);
    return stops_[thread];
  }

  void look_at(StressVma& vma, const Space& space) {
    EXPECT_EQ(vma.left, vma.right);
    EXPECT_EQ(vma.space, &space.mm);
  }

  void read(StressVma& vma, Space& space) {
    const RcuReader rcu;
    const auto attempt = Lock::begin_read(vma.near, vma.far, space.mm);
    if (attempt.outcome != ReadTry::locked) return;
    reads_.fetch_add(1, std::memory_order_relaxed);
    look_at(vma, space);
    EXPECT_FALSE(Lock::is_detached(vma.far));
    EXPECT_TRUE(Lock::is_read_locked_or_more(vma.near, vma.far, space.mm));
    Lock::end_read(vma.far, attempt.token);
  }

  void read_under_mmap_lock(StressVma& vma, Space& space) {
    typename Lock::Attempt attempt{ReadTry::detached, {}};
    {
      const BasicMmapRead<P> read(space.mm);
      // As a tree would tell: only a VMA of this space.
      if (where(vma) != &space) return;
      attempt = Lock::start_read_locked(vma.near, vma.far, space.mm);
    }
    ASSERT_EQ(attempt.outcome, ReadTry::locked);
    look_at(vma, space);
    Lock::end_read(vma.far, attempt.token);
  }

  void write(StressVma& vma, Space& space, const std::stop_token& stop) {
    const auto hold = BasicMmapWrite<P>::lock(space.mm, stop);
    if (!hold) return;
    space.mm.assert_held_write();
    if (where(vma) != &space) return;
    if (!Lock::lock_write(vma.near, vma.far, space.mm, stop)) {
      kills_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    EXPECT_TRUE(Lock::lock_write(vma.near, vma.far, space.mm, stop));
    ++vma.left;
    linger();  // A reader that gets in now sees them differ.
    ++vma.right;
  }

  // Detaches, and has the memory reused by the other space at once.
  void move(StressVma& vma, Space& from, Space& to) {
    {
      const BasicMmapWrite<P> hold(from.mm);
      if (where(vma) != &from) return;
      ASSERT_TRUE(Lock::lock_write(vma.near, vma.far, from.mm));
      linger();
      Lock::detach(vma.near, vma.far, from.mm);
      where_[&vma - vmas_].store(nullptr, std::memory_order_relaxed);
      vma.space = nullptr;
      vma.left = 0;
    }
    Lock::retire(vma.near, vma.far);
    put_in(vma, to);
  }

  void put_in(StressVma& vma, Space& to) {
    ASSERT_TRUE(Lock::init(vma.near, vma.far, to.mm));
    vma.left = 7;
    vma.right = 7;
    vma.space = &to.mm;
    const BasicMmapWrite<P> hold(to.mm);
    ASSERT_TRUE(Lock::lock_write(vma.near, vma.far, to.mm));
    linger();
    Lock::attach(vma.near, vma.far, to.mm);
    where_[&vma - vmas_].store(&to, std::memory_order_relaxed);
    ++vma.left;  // Still write-locked: an edit after publication is not seen half done.
    linger();
    ++vma.right;
  }

  void downgrade_after_write(Space& space) {
    BasicMmapWrite<P> write(space.mm);
    const uint64_t generation = ++space.generation;
    const BasicMmapRead<P> read = downgrade(std::move(write));
    EXPECT_EQ(space.generation, generation) << "a writer came in between";
    EXPECT_EQ(space.generation_copy + 1, generation);
    copy_mutex_.lock();
    space.generation_copy = generation;
    copy_mutex_.unlock();
  }

  void read_space(Space& space) {
    const auto read = BasicMmapRead<P>::try_lock(space.mm);
    if (!read) return;
    const uint64_t generation = space.generation;
    std::this_thread::yield();
    EXPECT_EQ(space.generation, generation);
  }

  // Lets others run in the middle of a write, every other time.
  static void linger() {
    thread_local unsigned n = 0;
    if (++n % 2 == 0) std::this_thread::yield();
  }

  const Space* where(const StressVma& vma) const {
    return where_[&vma - vmas_].load(std::memory_order_relaxed);
  }

  void check() {
    for (StressVma& vma : vmas_) {
      EXPECT_EQ(Lock::reader_count(vma.far), 0u);
      EXPECT_FALSE(Lock::is_detached(vma.far));
      EXPECT_EQ(vma.left, vma.right);
    }
    EXPECT_GT(reads_.load(std::memory_order_relaxed), 0u);
    for (Space& space : spaces_) {
      EXPECT_FALSE(space.mm.is_held_for_write());
      EXPECT_TRUE(BasicMmapRead<P>::try_lock(space.mm).has_value()) << "the queue is not empty";
    }
  }

  static constexpr int kVmas = 3;
  Space spaces_[2];
  StressVma vmas_[kVmas];
  // Which space's "tree" holds a VMA; changed under that space's mmap write lock.
  std::atomic<const Space*> where_[kVmas]{};
  std::mutex copy_mutex_;
  std::mutex stops_mutex_;
  std::stop_source stops_[kThreads];
  std::atomic<int> running_{kThreads};
  std::atomic<uint64_t> reads_{0};
  std::atomic<uint64_t> kills_{0};
};

struct Sleeping : NativePlatform {
  using Spinner = SleepingSpinner;
};

template <class Design>
class DesignStress : public ::testing::Test {};
template <template <class> class L>
struct Named {
  template <class P>
  using Lock = L<P>;
};
using StressedDesigns =
    ::testing::Types<Named<BasicRwsemLock>, Named<BasicRwsemSplitLock>, Named<BasicCountLock>,
                     Named<BasicRefcountLock>, Named<BasicScalableLock>>;
TYPED_TEST_SUITE(DesignStress, StressedDesigns);

TYPED_TEST(DesignStress, no_reader_is_ever_beside_a_writer) {
  using P = Jittery<NativePlatform>;
  auto stress = std::make_unique<Stress<P, typename TypeParam::template Lock<P>>>();
  stress->run();
}

TYPED_TEST(DesignStress, no_reader_is_ever_beside_a_writer_when_every_wait_sleeps) {
  using P = Jittery<Sleeping>;
  auto stress = std::make_unique<Stress<P, typename TypeParam::template Lock<P>>>();
  stress->run();
}

// Fairness: each side gets its turns while the other side keeps the lock busy without a pause.
TEST(LockStress, a_stream_of_readers_does_not_starve_a_writer) {
  MmapLock mm;
  std::atomic<bool> done{false};
  std::vector<std::thread> readers;
  readers.reserve(kThreads);
  for (int i = 0; i < kThreads - 1; ++i) {
    readers.emplace_back([&] {
      while (!done.load(std::memory_order_relaxed)) {
        const MmapRead read(mm);
        const uint64_t seq = mm.seq_relaxed();
        EXPECT_EQ(seq % 2, 0u);
      }
    });
  }
  for (int i = 0; i < 500; ++i) const MmapWrite write(mm);
  done.store(true, std::memory_order_relaxed);
  for (std::thread& reader : readers) reader.join();
}

TEST(LockStress, a_stream_of_writers_does_not_starve_a_reader) {
  MmapLock mm;
  std::atomic<bool> done{false};
  std::vector<std::thread> writers;
  writers.reserve(kThreads);
  for (int i = 0; i < kThreads - 1; ++i) {
    writers.emplace_back([&] {
      while (!done.load(std::memory_order_relaxed)) const MmapWrite write(mm);
    });
  }
  for (int i = 0; i < 500; ++i) const MmapRead read(mm);
  done.store(true, std::memory_order_relaxed);
  for (std::thread& writer : writers) writer.join();
}

// Speculation: whatever retry() accepts was read in one piece.
TEST(LockStress, speculation_never_accepts_a_torn_read) {
  MmapLock mm;
  std::atomic<uint64_t> left{0};
  std::atomic<uint64_t> right{0};
  std::atomic<bool> done{false};
  std::atomic<uint64_t> accepted{0};
  std::vector<std::thread> readers;
  readers.reserve(2);
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!done.load(std::memory_order_relaxed)) {
        const auto seq = mm.speculate_try_begin();
        if (!seq) continue;
        const uint64_t l = left.load(std::memory_order_relaxed);
        const uint64_t r = right.load(std::memory_order_relaxed);
        if (mm.speculate_retry(*seq)) continue;
        EXPECT_EQ(l, r);
        accepted.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  for (int i = 0; i < 20'000 || accepted.load(std::memory_order_relaxed) == 0; ++i) {
    const MmapWrite write(mm);
    left.fetch_add(1, std::memory_order_relaxed);
    right.fetch_add(1, std::memory_order_relaxed);
  }
  done.store(true, std::memory_order_relaxed);
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace pervma::test

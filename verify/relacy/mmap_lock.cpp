// The mmap lock: its queue, its downgrade, its stops; and what its sequence promises.
#include "harness.h"
#include "sync/mmap_lock_slow.h"

namespace pervma::verify {
namespace {

using P = RelacyPlatform;
using Lock = BasicMmapLock<P>;

// Two plain fields that only writers change, and both at a time.
struct Guarded {
  Lock lock;
  RelacyPlain<uint64_t> first{0};
  RelacyPlain<uint64_t> second{0};

  void write() {
    first = first + 1;
    second = second + 1;
  }
  uint64_t read() const {
    const uint64_t value = first;
    RL_ASSERT(value == second);
    return value;
  }
  void write_hold() {
    lock.lock_write();
    write();
    lock.unlock_write();
  }
  void read_hold() {
    lock.lock_read();
    (void)read();
    lock.unlock_read();
  }
};

struct ReaderAndWriter : Scenario<ReaderAndWriter, 2> {
  Guarded data;
  void thread(unsigned i) { i == 0 ? data.read_hold() : data.write_hold(); }
  void after() { RL_ASSERT(data.read() == 1); }
};

struct TwoWriters : Scenario<TwoWriters, 2> {
  Guarded data;
  void thread(unsigned) { data.write_hold(); }
  void after() { RL_ASSERT(data.read() == 2); }
};

struct ThreeWriters : Scenario<ThreeWriters, 3> {
  Guarded data;
  void thread(unsigned) { data.write_hold(); }
  void after() { RL_ASSERT(data.read() == 3); }
};

struct TwoReadersAndWriter : Scenario<TwoReadersAndWriter, 3> {
  Guarded data;
  void thread(unsigned i) { i < 2 ? data.read_hold() : data.write_hold(); }
  void after() { RL_ASSERT(data.read() == 1); }
};

struct ReaderAndTwoWriters : Scenario<ReaderAndTwoWriters, 3> {
  Guarded data;
  void thread(unsigned i) { i == 0 ? data.read_hold() : data.write_hold(); }
  void after() { RL_ASSERT(data.read() == 2); }
};

// A try never waits, and never lies.
struct TryRead : Scenario<TryRead, 2> {
  Guarded data;
  void thread(unsigned i) {
    if (i == 1) {
      data.write_hold();
    } else if (data.lock.try_lock_read()) {
      (void)data.read();
      data.lock.unlock_read();
    }
  }
};

// Between the two halves of a downgraded hold no writer gets in; readers do.
struct Downgrade : Scenario<Downgrade, 3> {
  Guarded data;
  void thread(unsigned i) {
    if (i == 0) {
      data.read_hold();
    } else if (i == 1) {
      data.write_hold();
    } else {
      data.lock.lock_write();
      data.write();
      const uint64_t mine = data.read();
      data.lock.downgrade();
      RL_ASSERT(data.read() == mine);
      data.lock.unlock_read();
    }
  }
};

// A hold that begins with its downgraded half, so that nobody but the downgrade can let readers in.
struct DowngradeLetsReadersIn : Scenario<DowngradeLetsReadersIn, 2> {
  Guarded data;
  RelacyAtomic<uint32_t> read_done{0};
  void thread(unsigned i) {
    if (i == 0) {
      data.read_hold();
      read_done.store(1, std::memory_order_relaxed);
      P::wake_one(&read_done);
      return;
    }
    data.lock.lock_write();
    data.write();
    data.lock.downgrade();
    while (read_done.load(std::memory_order_relaxed) == 0) P::wait(read_done, 0);
    data.lock.unlock_read();
  }
};

// A waiter that gives up: it holds nothing, or was granted the lock in time and holds it.
template <bool kWriterGivesUp>
struct GiveUp : Scenario<GiveUp<kWriterGivesUp>, 3> {
  Guarded data;
  RelacyStopSource stop;
  void thread(unsigned i) {
    if (i == 0) {
      data.write_hold();
    } else if (i == 1) {
      stop.request_stop();
    } else if (kWriterGivesUp) {
      if (!data.lock.lock_write(stop.token())) return;
      data.write();
      data.lock.unlock_write();
    } else {
      if (!data.lock.lock_read(stop.token())) return;
      (void)data.read();
      data.lock.unlock_read();
    }
  }
  void after() { data.write_hold(); }
};

// A reader stands behind a writer that gives up, beside a reader that stays until it is in.
struct GiveUpInFrontOfReader : Scenario<GiveUpInFrontOfReader, 3> {
  Guarded data;
  RelacyStopSource stop;
  RelacyAtomic<uint32_t> second_is_in{0};

  void thread(unsigned i) {
    if (i == 0) {
      data.lock.lock_read();
      stop.request_stop();
      while (second_is_in.load(std::memory_order_relaxed) == 0) P::wait(second_is_in, 0);
      data.lock.unlock_read();
    } else if (i == 1) {
      if (data.lock.lock_write(stop.token())) data.lock.unlock_write();
    } else {
      data.lock.lock_read();
      second_is_in.store(1, std::memory_order_relaxed);
      P::wake_one(&second_is_in);
      data.lock.unlock_read();
    }
  }
};

// A waiter gives up beside the writer: what stands behind it is granted nothing yet.
struct GiveUpBesideWriter : Scenario<GiveUpBesideWriter, 3> {
  Guarded data;
  RelacyStopSource stop;

  void thread(unsigned i) {
    if (i == 0) {
      data.lock.lock_write();
      stop.request_stop();
      data.write();
      data.lock.unlock_write();
    } else if (i == 1) {
      if (data.lock.lock_read(stop.token())) data.lock.unlock_read();
    } else {
      data.read_hold();
    }
  }
};

// A speculative reader keeps what it copied only where no writer was in between.
struct Speculation : Scenario<Speculation, 2> {
  Lock lock;
  RelacyAtomic<uint64_t> first{0};
  RelacyAtomic<uint64_t> second{0};

  void thread(unsigned i) {
    if (i == 0) {
      const auto seq = lock.speculate_try_begin();
      if (!seq) return;
      const uint64_t a = first.load(std::memory_order_relaxed);
      const uint64_t b = second.load(std::memory_order_relaxed);
      RL_ASSERT(lock.speculate_retry(*seq) || a == b);
      return;
    }
    lock.lock_write();
    first.store(1, std::memory_order_relaxed);
    second.store(1, std::memory_order_relaxed);
    lock.unlock_write();
  }
};

// The sequence as a reader of a VMA uses it: who sees that a hold has ended sees what it wrote, and
// so does who sees that the next one has begun.
struct SequencePromises : Scenario<SequencePromises, 3> {
  Lock lock;
  RelacyPlain<uint64_t> field{0};

  void thread(unsigned i) {
    if (i == 0) {
      // The third hold's number and up: two have ended, whoever made them.
      if (lock.seq_acquire() >= 6) (void)static_cast<uint64_t>(field);
      return;
    }
    lock.lock_write();
    if (lock.seq_relaxed() == 3) field = 1;
    lock.unlock_write();
  }
};
struct SequenceOfTheNextHold : Scenario<SequenceOfTheNextHold, 3> {
  Lock lock;
  RelacyPlain<uint64_t> field{0};

  void thread(unsigned i) {
    if (i == 0) {
      // The second hold's number: the first one has ended.
      if (lock.seq_acquire() == 5) (void)static_cast<uint64_t>(field);
      return;
    }
    lock.lock_write();
    if (lock.seq_relaxed() == 3) field = 1;
    lock.unlock_write();
  }
};

}  // namespace
}  // namespace pervma::verify

int main(int argc, char** argv) {
  using namespace pervma::verify;
  constexpr Search kRandom = random_schedules(100'000);
  return Harness("mmap_lock")
      .add<ReaderAndWriter>("reader_and_writer", {bounded(4), kRandom})
      .add<TwoWriters>("two_writers", {bounded(4), kRandom})
      .add<TryRead>("try_read", {bounded(6), kRandom})
      .add<TwoReadersAndWriter>("two_readers_and_writer", {bounded(1), kRandom})
      .add<ReaderAndTwoWriters>("reader_and_two_writers", {bounded(1), kRandom})
      .add<ThreeWriters>("three_writers", {bounded(1), kRandom})
      .add<Downgrade>("downgrade", {bounded(1), kRandom})
      .add<DowngradeLetsReadersIn>("downgrade_lets_readers_in", {bounded(3), kRandom})
      .add<GiveUp<true>>("writer_gives_up", {bounded(1), kRandom})
      .add<GiveUp<false>>("reader_gives_up", {bounded(1), kRandom})
      .add<GiveUpInFrontOfReader>("give_up_in_front_of_reader", {kRandom})
      .add<GiveUpBesideWriter>("give_up_beside_writer", {kRandom})
      .add<Speculation>("speculation", {bounded(5), kRandom})
      .add<SequencePromises>("sequence_promises", {bounded(1), kRandom})
      .add<SequenceOfTheNextHold>("sequence_of_the_next_hold", {bounded(1), kRandom})
      .run(argc, argv);
}

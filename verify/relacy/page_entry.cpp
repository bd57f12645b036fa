// Page tables and frames: the lock of a table, its entries, frames' counts and owners, loads and
// stores of bytes, truncations.
#include "fault/entry_word.h"

#include "fault/frame_word.h"
#include "fault/spin_word.h"
#include "fault/truncations.h"
#include "harness.h"
#include "sync/late_end.h"
#include "sync/refcount.h"

namespace pervma::verify {
namespace {

using P = RelacyPlatform;
using Entry = BasicEntryWord<P>;
using Lock = BasicSpinLock<P>;
constexpr auto kRelaxed = std::memory_order_relaxed;

// Stands for Mappers: a count, what its maker wrote into it, and its end.
struct List : BasicLateEnd<P> {
  BasicRefcount<P> refs{1};
  RelacyPlain<uint64_t> made{0};
  bool is_gone = false;  // No field of the protocol: the end is a moment, not an access.

  bool try_hold() {
    const bool held = refs.get();
    RL_ASSERT(!is_gone);
    return held;
  }
  void drop() {
    if (refs.put()) begin([](BasicLateEnd<P>* self) { static_cast<List*>(self)->is_gone = true; });
  }
};
using FrameWord = BasicFrameWord<P, List>;

struct Frame {
  FrameWord::Refs refs{1};
  FrameWord::Owner mappers{nullptr};
  FrameWord::Index index{0};
  RelacyPlain<uint64_t> contents{0};

  bool try_hold() { return FrameWord::try_hold(refs); }
  // Whether it was the last.
  bool drop() { return FrameWord::drop(refs) == 1; }
  bool is_sole() const { return FrameWord::is_sole(refs); }
};

class Guard {
 public:
  explicit Guard(Lock& lock) : lock_(lock) { lock_.lock(); }
  ~Guard() { lock_.unlock(); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

 private:
  Lock& lock_;
};

// --- the lock of a table

template <class Self, int kThreads>
struct LockScenario : Scenario<Self, kThreads> {
  Lock lock;
  RelacyPlain<uint64_t> count{0};

  void thread(unsigned) {
    const Guard guard(lock);
    count = count + 1;
  }
  void after() { RL_ASSERT(count == uint64_t{kThreads}); }
};
struct TwoHolders : LockScenario<TwoHolders, 2> {};
struct ThreeHolders : LockScenario<ThreeHolders, 3> {};

// --- entries

// A fault brings a page; somebody reads its entry without the lock, and then the page.
template <class Self, uint64_t (*kLook)(const Entry::Word&), void (*kSet)(Entry::Word&, uint64_t)>
struct PageComes : Scenario<Self, 2> {
  Entry::Word entry{0};
  Lock lock;
  Frame frame;

  void thread(unsigned i) {
    if (i == 0) {
      frame.contents = 7;
      const Guard guard(lock);
      kSet(entry, 1);
    } else if (kLook(entry) != 0) {
      RL_ASSERT(frame.contents == 7);
    }
  }
};
struct SmallPageComes : PageComes<SmallPageComes, &Entry::look, &Entry::set> {};
struct HugePageComes : PageComes<HugePageComes, &Entry::look_huge, &Entry::set_huge> {};

// A split fills a leaf table and puts it in the huge entry's place; a walker goes down through it.
struct Split : Scenario<Split, 2> {
  Entry::Word upper{1};
  Lock lock;
  RelacyPlain<uint64_t> leaf{0};

  void thread(unsigned i) {
    if (i == 0) {
      const Guard guard(lock);
      leaf = 7;
      Entry::set_huge(upper, 2);
    } else if (Entry::descend(upper) == 2) {
      RL_ASSERT(leaf == 7);
    }
  }
};

// Two faults need the same table, and each uses the one that came first.
struct TwoMakers : Scenario<TwoMakers, 2> {
  Entry::Word upper{0};
  RelacyPlain<uint64_t> tables[2];

  void thread(unsigned i) {
    uint64_t found = Entry::descend(upper);
    if (found == 0) {
      tables[i] = 7;
      if (Entry::publish(upper, found, i + 1)) found = i + 1;
    }
    RL_ASSERT(tables[found - 1] == 7);
  }
};

// --- frames

// Two spaces show a frame. One copies it and puts the copy in its place; the other may write into
// it from then on.
struct CopyOnWrite : Scenario<CopyOnWrite, 2> {
  Frame frame;

  void before() { frame.refs.store(2, kRelaxed); }
  void thread(unsigned i) {
    if (i == 0) {
      const uint64_t copied = frame.contents;
      RL_ASSERT(copied == 0);
      (void)frame.drop();
    } else if (frame.is_sole()) {
      frame.contents = 7;
    }
  }
};

// Two who have used a frame drop it: the last one frees it.
struct LastDrop : Scenario<LastDrop, 2> {
  Frame frame;
  RelacyPlain<uint64_t> seen_by[2];

  void before() { frame.refs.store(2, kRelaxed); }
  void thread(unsigned i) {
    seen_by[i] = 1;
    if (!frame.drop()) return;
    seen_by[0] = 2;
    seen_by[1] = 2;
  }
  void after() { RL_ASSERT(frame.refs.latest() == 0); }
};

// Somebody who has nothing wants a reference while the last one goes.
struct LateHold : Scenario<LateHold, 2> {
  Frame frame;
  RelacyAtomic<uint32_t> frees{0};

  void thread(unsigned i) {
    if (i == 1 && !frame.try_hold()) return;
    if (frame.drop()) frees.fetch_add(1, kRelaxed);
  }
  void after() { RL_ASSERT(frees.latest() == 1 && frame.refs.latest() == 0); }
};

// A fault tells a frame whose page it is; the clock comes from it.
struct Owner : Scenario<Owner, 2> {
  Frame frame;
  List list;

  void before() { frame.index.store(3, kRelaxed); }
  void thread(unsigned i) {
    if (i == 0) {
      list.made = 1;
      FrameWord::set_owner(frame.mappers, frame.index, &list, 4);
      return;
    }
    List* const found = FrameWord::owner(frame.mappers);
    if (found == nullptr) return;
    RL_ASSERT(found->made == 1);
    RL_ASSERT(frame.index.load(kRelaxed) == 4);
  }
};

// A fault without locks copies a page, all mappings of which go with their list meanwhile; and the
// clock passes by. Whoever reaches the list finds it there; the frame is freed once.
struct EvictBesideTheEnd : Scenario<EvictBesideTheEnd, 3> {
  Frame frame;
  List list;
  RelacyAtomic<uint32_t> unmapped{0};  // what the fault validates
  Lock leaf;
  Entry::Word entry{1};
  unsigned frees = 0;

  void before() { FrameWord::set_owner(frame.mappers, frame.index, &list, 4); }
  void drop() {
    if (!frame.drop()) return;
    FrameWord::clear_owner(frame.mappers);
    ++frees;
  }
  void copy() {
    const P::RcuRead rcu;
    if (unmapped.load(std::memory_order_acquire) != 0) return;
    {
      const Guard guard(leaf);
      if (unmapped.load(kRelaxed) != 0 || entry.load(kRelaxed) == 0) return;
      frame.refs.fetch_add(1, kRelaxed);
    }
    drop();
  }
  void unmap() {
    unmapped.store(1, std::memory_order_release);
    {
      const Guard guard(leaf);
      Entry::set(entry, 0);
    }
    drop();
    list.drop();
  }
  void evict() {
    const auto [found, index] = FrameWord::find(frame.refs, frame.mappers, frame.index);
    if (found == nullptr) return;
    RL_ASSERT(!found->is_gone && index == 4);
    {
      const Guard guard(leaf);
    }
    drop();
    RL_ASSERT(!found->is_gone);
    found->drop();
  }
  void thread(unsigned i) { i == 0 ? copy() : i == 1 ? unmap() : evict(); }
  void after() { RL_ASSERT(frees == 1 && list.is_gone && frame.mappers.latest() == nullptr); }
};

// --- bytes

// A frame is shared by two spaces. One of them loads a byte while another thread of it copies the
// page and lets go of the frame; the other space, alone with it now, stores into it. What is loaded
// is this space's byte, or the entry is seen to have changed.
struct LoadBesideCopy : Scenario<LoadBesideCopy, 3> {
  Frame frame;
  RelacyAtomic<uint64_t> byte{0};
  Lock ours;
  Entry::Word our_entry{1};
  Lock theirs;
  Entry::Word their_entry{1};  // without the right to write; 2 with it

  void before() { frame.refs.store(2, kRelaxed); }
  void thread(unsigned i) {
    if (i == 0) {
      if (Entry::look(our_entry) != 1) return;
      const uint64_t loaded = byte.load(kRelaxed);
      Entry::end_load();
      if (our_entry.load(kRelaxed) == 1) RL_ASSERT(loaded == 0);
    } else if (i == 1) {
      {
        const Guard guard(ours);
        Entry::set(our_entry, 3);
      }
      (void)frame.drop();
    } else {
      const Guard guard(theirs);
      if (!frame.is_sole()) return;
      Entry::set(their_entry, 2);
      Entry::begin_store();
      byte.store(7, kRelaxed);
    }
  }
};

// --- truncations

// An object becomes shorter while a page of it is mapped: the entry is found, or never set; whether
// the table was there or is made meanwhile.
template <class Self, bool kTableIsThere>
struct TruncationScenario : Scenario<Self, 2> {
  BasicTruncations<P> truncations;
  RelacyAtomic<uint64_t> size{1};
  Entry::Word upper{kTableIsThere ? 1u : 0u};
  Lock leaf;
  Entry::Word entry{0};

  void thread(unsigned i) {
    if (i == 0) {
      uint64_t found = Entry::descend(upper);
      if (found == 0) (void)Entry::publish(upper, found, 1);
      const uint32_t seen = truncations.count();
      if (size.load(kRelaxed) == 0) return;
      const Guard guard(leaf);
      if (truncations.count() == seen) Entry::set(entry, 1);
      return;
    }
    size.store(0, kRelaxed);
    truncations.begin();
    if (Entry::descend(upper) == 0) return;
    const Guard guard(leaf);
    if (entry.load(kRelaxed) != 0) Entry::set(entry, 0);
  }
  void after() { RL_ASSERT(entry.latest() == 0); }
};
struct TruncationMeetsTable : TruncationScenario<TruncationMeetsTable, true> {};
struct TruncationBesideTable : TruncationScenario<TruncationBesideTable, false> {};

}  // namespace
}  // namespace pervma::verify

int main(int argc, char** argv) {
  using namespace pervma::verify;
  const auto two = {exhaustive()};
  const auto three = {bounded(3), random_schedules(100'000)};
  return Harness("page_entry")
      .add<TwoHolders>("two_holders", two)
      .add<ThreeHolders>("three_holders", three)
      .add<SmallPageComes>("small_page_comes", two)
      .add<HugePageComes>("huge_page_comes", two)
      .add<Split>("split", two)
      .add<TwoMakers>("two_makers", two)
      .add<CopyOnWrite>("copy_on_write", two)
      .add<LastDrop>("last_drop", two)
      .add<LateHold>("late_hold", two)
      .add<Owner>("owner", two)
      .add<EvictBesideTheEnd>("evict_beside_the_end", {bounded(2), random_schedules(100'000)})
      .add<LoadBesideCopy>("load_beside_copy", three)
      .add<TruncationMeetsTable>("truncation_meets_table", {bounded(5), random_schedules(100'000)})
      .add<TruncationBesideTable>("truncation_beside_table",
                                  {bounded(5), random_schedules(100'000)})
      .run(argc, argv);
}

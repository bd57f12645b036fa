// The fault layer's words beside page tables: nodes and slots of page caches, marks of written
// pages, notifiers, slots of the store, identities of VMAs.
#include "fault/cache_word.h"
#include "fault/frame_word.h"
#include "fault/notifier_word.h"
#include "fault/slot_word.h"
#include "harness.h"
#include "vm/identity_word.h"

namespace pervma::verify {
namespace {

using P = RelacyPlatform;
constexpr auto kRelaxed = std::memory_order_relaxed;

struct Made {
  RelacyPlain<uint64_t> contents{0};
};
using CacheWord = BasicCacheWord<P>;
using NotifierWord = BasicNotifierWord<P, Made>;
using IdentityWord = BasicIdentityWord<P, Made>;
using SlotWord = BasicSlotWord<P>;
using FrameWord = BasicFrameWord<P, Made>;

// Something is made and shown by a pointer; who finds it sees it whole.
template <class Self, Made* (*kLook)(const RelacyAtomic<Made*>&),
          void (*kShow)(RelacyAtomic<Made*>&, Made*)>
struct Shown : Scenario<Self, 2> {
  RelacyAtomic<Made*> word{nullptr};
  Made made;

  void thread(unsigned i) {
    if (i == 0) {
      made.contents = 7;
      kShow(word, &made);
    } else if (Made* const found = kLook(word)) {
      RL_ASSERT(found->contents == 7);
    }
  }
};
struct CacheNode : Shown<CacheNode, &CacheWord::look<Made>, &CacheWord::publish<Made>> {};
struct NotifierList : Shown<NotifierList, &NotifierWord::look, &NotifierWord::set> {};
struct Identity : Shown<Identity, &IdentityWord::look, &IdentityWord::set> {};

// A page is read in, or put in by the embedder; a fault finds it.
template <class Self, bool kReads>
struct CachedPage : Scenario<Self, 2> {
  static constexpr uint32_t kFilling = 9;
  CacheWord::Slot slot{kReads ? kFilling : 0};
  Made page;

  void thread(unsigned i) {
    if (i == 1) {
      if (CacheWord::page(slot) == 1) RL_ASSERT(page.contents == 7);
      return;
    }
    page.contents = 7;
    if (kReads) {
      RL_ASSERT(CacheWord::end_filling(slot, 1) == kFilling);
    } else {
      RL_ASSERT(CacheWord::put(slot, 1));
    }
  }
};
struct PageReadIn : CachedPage<PageReadIn, true> {};
struct PagePutIn : CachedPage<PagePutIn, false> {};

// Two mappings get the right to write a page, each with a mark. Whoever writes the page back takes
// the mark and then the rights: where he does not see one, its mark is still there.
struct WriteBack : Scenario<WriteBack, 3> {
  FrameWord::Refs dirty{0};
  RelacyAtomic<uint32_t> rights[2];

  void thread(unsigned i) {
    if (i < 2) {
      rights[i].store(1, kRelaxed);
      FrameWord::mark_dirty(dirty);
      return;
    }
    if (dirty.load(kRelaxed) == 0) return;
    FrameWord::take_dirty(dirty);
    for (auto& right : rights) {
      if (right.load(kRelaxed) != 0) right.store(0, kRelaxed);
    }
  }
  void after() {
    for (auto& right : rights) RL_ASSERT(right.latest() == 0 || dirty.latest() == 1);
  }
};

// Two use a slot of the store and drop it: the last one out gives it to somebody else.
struct SlotGoes : Scenario<SlotGoes, 2> {
  SlotWord::Refs refs{1};
  RelacyPlain<uint64_t> used_by[2];

  void before() { RL_ASSERT(SlotWord::hold(refs) == 1); }
  void thread(unsigned i) {
    used_by[i] = 1;
    if (SlotWord::drop(refs) != 1) return;
    used_by[0] = 2;
    used_by[1] = 2;
  }
  void after() { RL_ASSERT(refs.latest() == 0); }
};

}  // namespace
}  // namespace pervma::verify

int main(int argc, char** argv) {
  using namespace pervma::verify;
  const auto two = {exhaustive()};
  return Harness("fault_words")
      .add<CacheNode>("cache_node", two)
      .add<PageReadIn>("page_read_in", two)
      .add<PagePutIn>("page_put_in", two)
      .add<WriteBack>("write_back", {bounded(4), random_schedules(100'000)})
      .add<NotifierList>("notifier_list", two)
      .add<SlotGoes>("slot_goes", two)
      .add<Identity>("identity", two)
      .run(argc, argv);
}

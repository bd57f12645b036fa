// Readers of a maple tree beside its writer: what they may meet, and what not.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <deque>
#include <random>
#include <thread>
#include <vector>

#include "sync/rcu.h"
#include "tree/maple_tree.h"

namespace pervma {
namespace {

#if defined(PERVMA_TSAN)
constexpr unsigned kStores = 20'000;
#else
constexpr unsigned kStores = 60'000;
#endif

struct Entry {
  uint64_t first;
  uint64_t last;
};

// Of every 64 indices the last four are one range that is never stored to again; the rest changes
// all the time. `now` and the version (odd during a store) say what is right.
class Beside {
 public:
  static constexpr uint64_t kStride = 64;
  static constexpr uint64_t kPinned = 4;
  static constexpr uint64_t kUniverse = 64 * kStride;

  Beside() {
    for (uint64_t at = kStride - kPinned; at < kUniverse; at += kStride) {
      store(at, at + kPinned - 1, false);
    }
  }

  static bool is_pinned(uint64_t index) { return index % kStride >= kStride - kPinned; }

  void store(uint64_t first, uint64_t last, bool erase) {
    Entry* entry = nullptr;
    if (!erase) entry = &entries_.emplace_back(Entry{first, last});
    ASSERT_TRUE(tree_.reserve(1));
    version_.fetch_add(1);
    tree_.store_reserved(first, last, entry);
    for (uint64_t i = first; i <= last; ++i) now_[i].store(entry);
    version_.fetch_add(1);
  }

  void write(unsigned stores) {
    std::mt19937_64 rng(5);
    for (unsigned n = 0; n < stores; ++n) {
      const uint64_t stride = rng() % (kUniverse / kStride);
      const uint64_t room = kStride - kPinned;
      uint64_t first = rng() % room;
      uint64_t last = first + rng() % (rng() % 8 == 0 ? room : 6);
      if (last >= room) last = room - 1;
      // Often exactly an entry's bounds, or one of them: those stores are made in place.
      if (const Entry* e = now_[stride * kStride + first].load(); e != nullptr && rng() % 2 == 0) {
        first = e->first % kStride;
        if (rng() % 2 == 0) last = e->last % kStride;
      }
      if (first > last) std::swap(first, last);
      store(stride * kStride + first, stride * kStride + last, rng() % 3 == 0);
    }
    done_.store(true);
  }

  // One lookup of a random index; what is wrong with its answer.
  const char* look_up(std::mt19937_64& rng) {
    const uint64_t index = rng() % kUniverse;
    const uint64_t before = version_.load();
    const Entry* old = now_[index].load();
    const RcuReader reader;
    const auto* met = static_cast<const Entry*>(tree_.load(index));
    if (is_pinned(index)) {
      return met == old ? nullptr : "a range that no store touched was not met";
    }
    uint64_t after = version_.load();
    while (after % 2 != 0) after = version_.load();
    const Entry* fresh = now_[index].load();
    if (before % 2 != 0 || version_.load() - before > 2) {
      return nullptr;  // beside two stores it may be a neighbour: the bounds tell
    }
    overlapped_.fetch_add(after != before ? 1 : 0, std::memory_order_relaxed);
    return met == old || met == fresh ? nullptr : "neither the old nor the new entry";
  }

  // A journey over the whole tree; what is wrong with it.
  const char* travel(bool forward) {
    const RcuReader reader;
    MapleTree::Cursor cursor(tree_, forward ? 0 : kUniverse);
    unsigned pinned = 0;
    uint64_t at = forward ? 0 : kUniverse;
    while (forward ? cursor.next(kUniverse) != nullptr : cursor.prev() != nullptr) {
      if (forward ? cursor.last() < at : cursor.first() >= at) return "a step back";
      at = forward ? cursor.last() + 1 : cursor.first();
      const auto* entry = static_cast<const Entry*>(cursor.entry());
      if (!is_pinned(entry->first)) continue;
      if (cursor.first() != entry->first || cursor.last() != entry->last) {
        // A pivot of before a store and an entry of after it.
        if (!is_pinned(cursor.first()) && !is_pinned(cursor.last())) continue;
        return "other bounds of a range that no store touched";
      }
      ++pinned;
    }
    return pinned == kUniverse / kStride ? nullptr : "a range that no store touched was left out";
  }

  bool done() const { return done_.load(); }
  MapleTree& tree() { return tree_; }
  uint64_t overlapped() const { return overlapped_.load(); }

 private:
  NodePool pool_;
  MapleTree tree_{pool_};
  std::deque<Entry> entries_;
  std::array<std::atomic<Entry*>, kUniverse> now_{};
  std::atomic<uint64_t> version_{0};
  std::atomic<uint64_t> overlapped_{0};
  std::atomic<bool> done_{false};
};

TEST(MapleReaders, a_lookup_beside_a_store_meets_the_old_or_the_new_entry) {
  Beside beside;
  std::atomic<const char*> wrong{nullptr};
  std::vector<std::thread> readers;
  for (unsigned r = 0; r < 2; ++r) {
    readers.emplace_back([&, r] {
      std::mt19937_64 rng(r + 100);
      while (!beside.done()) {
        if (const char* w = beside.look_up(rng)) wrong.store(w);
      }
    });
  }
  beside.write(kStores);
  for (std::thread& t : readers) t.join();
  EXPECT_STREQ(wrong.load(), nullptr);
  EXPECT_EQ(beside.tree().check(), "");
  RecordProperty("overlapped", static_cast<int>(beside.overlapped()));
}

TEST(MapleReaders, a_cursor_beside_a_writer_meets_whatever_stays) {
  Beside beside;
  std::atomic<const char*> wrong{nullptr};
  std::vector<std::thread> readers;
  for (const bool forward : {true, false}) {
    readers.emplace_back([&, forward] {
      while (!beside.done()) {
        if (const char* w = beside.travel(forward)) wrong.store(w);
      }
    });
  }
  beside.write(kStores / 2);
  for (std::thread& t : readers) t.join();
  EXPECT_STREQ(wrong.load(), nullptr);
}

TEST(MapleReaders, a_tree_that_is_filled_and_emptied_never_shows_a_foreign_entry) {
  NodePool pool;
  MapleTree tree(pool);
  static Entry entries[512];
  for (uint64_t i = 0; i < 512; ++i) entries[i] = {i * 8, i * 8 + 7};
  std::atomic<bool> done{false};
  std::atomic<uint64_t> foreign{0};
  std::thread reader([&] {
    std::mt19937_64 rng(1);
    while (!done.load()) {
      const uint64_t index = rng() % 4096;
      const RcuReader section;
      const auto* e = static_cast<const Entry*>(tree.load(index));
      if (e != nullptr && (index < e->first || index > e->last)) foreign.fetch_add(1);
    }
  });
  // No store moves a boundary next to another entry, so not even a neighbour may be met.
  for (unsigned round = 0; round < 40; ++round) {
    for (Entry& e : entries) ASSERT_TRUE(tree.store(e.first, e.last, &e));
    if (round % 3 == 0) {
      tree.clear();
    } else {
      ASSERT_TRUE(tree.erase(0, 8 * (round % 512) + 2047));
      ASSERT_TRUE(tree.erase(0, 4096));
    }
  }
  done.store(true);
  reader.join();
  EXPECT_EQ(foreign.load(), 0U);
}

}  // namespace
}  // namespace pervma

#include "bench/limits.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <vector>

#include "sync/rcu.h"
#include "tree/maple_tree.h"
#include "tree/node_pool.h"

namespace pervma::bench {

namespace {

constexpr uint64_t page_of(uint64_t address) noexcept { return address & ~kPageMask; }

// What only looks has nothing to change.
struct ReadOnly {
  bool insert(uint64_t, uint64_t) noexcept { return false; }
  bool erase(uint64_t, uint64_t) noexcept { return false; }
};

struct alignas(128) Word {
  std::atomic<uint32_t> count{1};

  void pair() noexcept {
    count.fetch_add(1, std::memory_order_acquire);
    count.fetch_sub(1, std::memory_order_release);
  }
};

class PairMap : public ReadOnly {
 public:
  uint64_t find(uint64_t address, unsigned thread) noexcept {
    words_[thread % words_.size()].pair();
    return page_of(address);
  }

 private:
  std::array<Word, 64> words_;
};

class PairSharedMap : public ReadOnly {
 public:
  uint64_t find(uint64_t address, unsigned) noexcept {
    word_.pair();
    return page_of(address);
  }

 private:
  Word word_;
};

class RcuMap : public ReadOnly {
 public:
  uint64_t find(uint64_t address, unsigned) noexcept {
    const RcuReader reader;
    return opaque(page_of(address));
  }
};

// Levels of nodes of 256 bytes; a slot has the number of a node one level down, the last level's of
// an object of 128 bytes. The slots to take come out of the range's index alone, so that the loads
// are all there is to wait for.
class WalkMap : public ReadOnly {
 public:
  WalkMap(const Layout& layout, size_t nodes, unsigned height) : layout_(layout) {
    // Nodes per level as a tree of even fan-out has them; the leaves are most of all nodes.
    const double leaves = std::max(1.0, static_cast<double>(nodes) * 0.93);
    const double fan_out = height > 1 ? std::pow(leaves, 1.0 / (height - 1)) : 1;
    for (unsigned level = 0; level < height; ++level) {
      const auto count = static_cast<uint64_t>(std::llround(std::pow(fan_out, level)));
      levels_.emplace_back(std::max<uint64_t>(1, count));
      scales_.push_back((uint64_t{levels_.back().size()} << 32) / layout.ranges);
    }
    scales_.push_back(uint64_t{1} << 32);
    link();
  }

  uint64_t find(uint64_t address, unsigned) noexcept {
    const uint64_t index = (address - layout_.base) >> shift();
    uint64_t at = 0;
    for (size_t level = 0; level < levels_.size(); ++level) {
      at = levels_[level][at].slots[number(level + 1, index) % kSlots];
    }
    return objects_[at].start;
  }

 private:
  static constexpr size_t kSlots = 64;
  struct alignas(256) Node {
    std::array<uint32_t, kSlots> slots{};
  };
  struct alignas(128) Object {
    uint64_t start = 0;
  };

  unsigned shift() const noexcept {
    return layout_.spacing == Spacing::gaps ? kPageShift + 1 : kPageShift;
  }
  // Which node of a level (or, below the last, which range) is on the way to a range. A node's
  // children have numbers in a row, fewer than its slots.
  uint64_t number(size_t level, uint64_t index) const noexcept {
    return index * scales_[level] >> 32;
  }

  // Goes down to every range once and writes the slots that it meets.
  void link() {
    objects_.resize(layout_.ranges);
    const std::vector<uint64_t> places = Layout{.ranges = layout_.ranges}.shuffled();
    for (uint64_t i = 0; i < layout_.ranges; ++i) {
      objects_[places[i]].start = layout_.start(i);
      for (size_t level = 0; level < levels_.size(); ++level) {
        const uint64_t child = number(level + 1, i);
        const bool is_last = level + 1 == levels_.size();
        levels_[level][number(level, i)].slots[child % kSlots] =
            static_cast<uint32_t>(is_last ? places[i] : child);
      }
    }
  }

  const Layout layout_;
  std::vector<std::vector<Node>> levels_;
  std::vector<uint64_t> scales_;  // nodes of the level per range, in 2^-32; 1 for the ranges
  std::vector<Object> objects_;
};

}  // namespace

SubjectPtr make_limit_pair() { return std::make_unique<SubjectOf<PairMap>>("limit:pair"); }

SubjectPtr make_limit_pair_shared() {
  return std::make_unique<SubjectOf<PairSharedMap>>("limit:pair-shared");
}

SubjectPtr make_limit_rcu() { return std::make_unique<SubjectOf<RcuMap>>("limit:rcu"); }

SubjectPtr make_limit_walk(const Layout& layout) {
  NodePool pool;
  MapleTree tree(pool, RcuMode::off);
  int entry = 0;
  for (const uint64_t i : layout.shuffled()) {
    const uint64_t start = layout.start(i);
    if (!tree.store(start, start + kPageSize - 1, &entry)) return nullptr;
  }
  const MapleStats stats = tree.stats();
  tree.clear();
  return std::make_unique<SubjectOf<WalkMap>>("limit:walk", layout, stats.nodes, stats.height);
}

}  // namespace pervma::bench

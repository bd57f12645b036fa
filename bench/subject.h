// subject.h: something that finds the range of an address, keeps it from changing, and lets it go,
// while others insert and erase: a design, a peer, or what the machine itself costs.
//
// SubjectOf<Map> runs the same loops over each of them, compiled for each: no virtual call is
// inside a timed operation of a reader. A Map has
//   uint64_t find(uint64_t address, unsigned thread)   the start of the range that holds it, read
//                                                      while the range could not change; kNothing
//   bool insert(uint64_t start, uint64_t end)          where nothing is
//   bool erase(uint64_t start, uint64_t end)           exactly one range
// and, where it can take its lock once for several changes,
//   bool insert_and_erase(const uint64_t* starts, size_t n)   pages: insert all, then erase all
// and, where readers keep a writer of a range out,
//   bool write_one(uint64_t address)                   waits for them, and lets everybody in again
#pragma once

#include <array>
#include <concepts>
#include <functional>
#include <memory>
#include <string>

#include "bench/picker.h"
#include "bench/worker.h"

namespace pervma::bench {

inline constexpr uint64_t kNothing = ~uint64_t{0};

template <class M>
concept BenchMap = requires(M& m, uint64_t a, unsigned thread) {
  { m.find(a, thread) } -> std::same_as<uint64_t>;
  { m.insert(a, a) } -> std::same_as<bool>;
  { m.erase(a, a) } -> std::same_as<bool>;
};

// Which ranges the writer of a benchmark makes and takes away again.
enum class Churn : uint8_t {
  elsewhere,  // far from those that are looked up
  next_door,  // in the gaps between them
};

class Subject {
 public:
  explicit Subject(std::string name) : name_(std::move(name)) {}
  virtual ~Subject() = default;
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  const std::string& name() const noexcept { return name_; }

  // Finds picked ranges, each checked; the next address depends on the last answer, so that
  // operations do not overlap in the processor.
  virtual void read(Worker&, const Layout&, Picker) = 0;
  // The same range over and over.
  virtual void read_one(Worker&, const Layout&, uint64_t index) = 0;
  // One operation: get in where readers of this range are kept out, and at once let them in again.
  // 20 microseconds between two, which count for nothing.
  virtual bool has_write_one() const noexcept = 0;
  virtual void write_one(Worker&, const Layout&, uint64_t index) = 0;
  // One operation: insert a range of one page, erase it.
  virtual void churn(Worker&, const Layout&, Churn) = 0;
  // The same next door, kPairs operations under one hold of the lock, where the subject has such a
  // thing.
  static constexpr size_t kPairs = 32;
  virtual bool has_sections() const noexcept = 0;
  virtual void churn_in_sections(Worker&, const Layout&) = 0;

  virtual bool insert(uint64_t start, uint64_t end) = 0;
  virtual bool erase(uint64_t start, uint64_t end) = 0;
  // Inserts all ranges of the layout in an order without pattern.
  bool fill(const Layout& layout) {
    for (const uint64_t i : layout.shuffled()) {
      if (!insert(layout.start(i), layout.start(i) + kPageSize)) return false;
    }
    return true;
  }

 private:
  const std::string name_;
};

template <BenchMap Map>
class SubjectOf final : public Subject {
 public:
  template <class... Arguments>
  explicit SubjectOf(std::string name, Arguments&&... arguments)
      : Subject(std::move(name)), map_(std::forward<Arguments>(arguments)...) {}

  void read(Worker& worker, const Layout& layout, Picker picker) override {
    read_some(worker, layout, [&] { return picker.next(); });
  }
  void read_one(Worker& worker, const Layout& layout, uint64_t index) override {
    read_some(worker, layout, [&] { return index; });
  }

  bool has_write_one() const noexcept override { return kWritesOne; }
  void write_one(Worker& worker, const Layout& layout, uint64_t index) override {
    if constexpr (kWritesOne) {
      constexpr double kPauseNs = 20'000;
      uint64_t wrong = 0;
      const auto pause = [&worker](unsigned) {
        const uint64_t begin = cpu_ticks_begin();
        while (worker.clock().ns(cpu_ticks_end() - begin) < kPauseNs) cpu_relax();
      };
      const auto write = [&](unsigned) {
        if (!map_.write_one(layout.start(index))) ++wrong;
      };
      worker.run_undone(1, write, pause);
      worker.note_wrong(wrong);
    }
  }

  void churn(Worker& worker, const Layout& layout, Churn where) override {
    // Elsewhere, a thousand places take turns; next door, the gaps do.
    constexpr uint64_t kElsewhere = uint64_t{1} << 44;
    constexpr uint64_t kPlaces = 1024;
    const uint64_t places = where == Churn::elsewhere ? kPlaces : layout.ranges;
    Picker picker(places, worker.index(), worker.count(), worker.seed());
    uint64_t wrong = 0;
    worker.run<4>([&] {
      const uint64_t i = picker.next();
      const uint64_t start = where == Churn::elsewhere ? kElsewhere + (i << (kPageShift + 1))
                                                       : layout.start(i) + kPageSize;
      const bool inserted = map_.insert(start, start + kPageSize);
      const bool erased = map_.erase(start, start + kPageSize);
      if (!inserted || !erased) ++wrong;
    });
    worker.note_wrong(wrong);
  }

  bool has_sections() const noexcept override { return kSections; }
  void churn_in_sections(Worker& worker, const Layout& layout) override {
    if constexpr (kSections) {
      Picker picker(layout.ranges, worker.index(), worker.count(), worker.seed());
      uint64_t wrong = 0;
      std::array<uint64_t, kPairs> starts{};
      const size_t pairs = std::min<size_t>(kPairs, layout.ranges);
      worker.run<1>(
          [&] {
            // Gaps in a row from a random one on, so that none is met twice.
            const uint64_t first = picker.next();
            for (size_t i = 0; i < pairs; ++i) {
              starts[i] = layout.start((first + i) % layout.ranges) + kPageSize;
            }
            if (!map_.insert_and_erase(starts.data(), pairs)) ++wrong;
          },
          pairs);
      worker.note_wrong(wrong);
    }
  }

  bool insert(uint64_t start, uint64_t end) override { return map_.insert(start, end); }
  bool erase(uint64_t start, uint64_t end) override { return map_.erase(start, end); }
  Map& map() noexcept { return map_; }

 private:
  static constexpr bool kSections = requires(Map& m, const uint64_t* starts) {
    { m.insert_and_erase(starts, kPairs) } -> std::same_as<bool>;
  };

  static constexpr bool kWritesOne = requires(Map& m) {
    { m.write_one(0) } -> std::same_as<bool>;
  };

  template <class Next>
  void read_some(Worker& worker, const Layout& layout, Next next) {
    constexpr uint64_t kInside = 123;
    uint64_t wrong = 0;
    uint64_t chain = 0;  // 0 unless an answer was nonsense; the compiler does not know
    worker.run<64>([&] {
      const uint64_t start = layout.start(next() + chain);
      const uint64_t found = map_.find(start + kInside, worker.index());
      wrong |= found ^ start;
      chain = opaque(found ^ start) >> 63;
    });
    if (wrong != 0) worker.note_wrong(1);
  }

  Map map_;
};

using SubjectPtr = std::unique_ptr<Subject>;
// Makes an empty one. Null: no memory.
using SubjectMaker = std::function<SubjectPtr()>;

}  // namespace pervma::bench

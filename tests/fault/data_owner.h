// data_owner.h: one thread's part of a space, and what every byte of it must be.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "fault/soft_engine.h"
#include "tests/fault/support.h"

namespace pervma::test {

// maps: protections, mappings, moves and discards of anonymous memory. everything: files, shared
// and private, truncation, msync, forks, pages of the caller's, advice that sends pages out, locked
// pages, and failing allocations.
enum class Mixture : uint8_t { maps, everything };

// A test object whose size its owner changes.
struct OwnedFile {
  std::shared_ptr<TestObject> object;
  FileRef ref;
  uint64_t pages = 0;
};

class Owner {
 public:
  static constexpr uint64_t kPart = 64;  // pages: its neighbours' parts touch it

  Owner(SoftEngine& engine, AddressSpace& space, Address start, unsigned seed, Mixture mixture)
      : engine_(engine), space_(space), start_(start), random_(seed), mixture_(mixture) {
    for (const Kind kind : {Kind::copied, Kind::shared}) {
      OwnedFile& f = file(kind);
      const auto safety = kind == Kind::copied ? VmaLockSafety::memory : VmaLockSafety::audited;
      f.object = std::make_shared<TestObject>(kPart * kPageSize, safety);
      f.ref = *engine.open(f.object, FileMode::read_write);
      f.pages = kPart;
    }
  }

  void step() {
    const uint64_t first = pick(kPart);
    const uint64_t count = 1 + pick(std::min<uint64_t>(kPart - first, 6));
    if (mixture_ == Mixture::everything && pick(3) == 0) return step_more(first, count);
    switch (pick(16)) {
      case 0: protect(first, count, Prot::read); break;
      case 1: protect(first, count, kReadWriteProt); break;
      case 2: protect(first, count, pick(2) == 0 ? Prot::none : kReadWriteProt); break;
      case 3: drop(first, count); break;
      case 4:
      case 5: map_anew(first, count); break;
      case 6: pick(2) == 0 ? unmap(first, count) : map_anew(first, count); break;
      case 7: move(first); break;
      case 8:
      case 9: load(first, pick(kWords)); break;
      case 10: load_page(space_, first); break;
      default: store(first, pick(kWords)); break;
    }
  }
  void check_all() {
    for (uint64_t p = 0; p < kPart; ++p) load_page(space_, p);
  }
  // Accesses that found no memory, or a page that could not be read back.
  uint64_t refused() const { return refused_; }

 private:
  static constexpr uint64_t kWords = kPageSize / sizeof(uint64_t);
  static constexpr Prot kReadWriteProt = Prot::read | Prot::write;
  enum class Kind : uint8_t { anon, copied, shared };
  using Words = std::map<uint64_t, uint64_t>;  // those that were stored
  using PageBytes = std::array<uint64_t, kWords>;
  struct Page {
    bool mapped = false;
    Prot prot = Prot::none;
    Kind kind = Kind::anon;
    uint64_t index = 0;  // in its file
    Words words{};
  };

  void step_more(uint64_t first, uint64_t count) {
    switch (pick(16)) {
      case 0: map_file(Kind::copied, first, count); break;
      case 1: map_file(Kind::shared, first, count); break;
      case 2: truncate(pick(2) == 0 ? Kind::copied : Kind::shared); break;
      case 3: (void)space_.sync(at(first), count * kPageSize, SyncFlags::sync); break;
      case 4:
      case 5: insert(first, count); break;
      case 6:
      case 7:
      case 8: (void)space_.advise(at(first), count * kPageSize, Advice::pageout); break;
      case 9: (void)space_.advise(at(first), count * kPageSize, Advice::cold); break;
      case 10: (void)space_.clear_written(at(first), count * kPageSize); break;
      case 11:
        (void)space_.lock(at(first), kPageSize);
        (void)space_.unlock(at(first), kPageSize);
        break;
      case 12: fork(); break;
      case 13:  // For a while: a fault that finds no frame tries hard to get one.
        engine_.frames().fail_after(pick(30));
        for (int i = 0; i < 3; ++i) store(pick(kPart), pick(kWords));
        engine_.frames().fail_never();
        break;
      default: load_page(space_, first); break;
    }
  }

  uint64_t pick(uint64_t n) { return random_() % n; }
  Address at(uint64_t page, uint64_t word = 0) const {
    return start_ + page * kPageSize + word * sizeof(uint64_t);
  }
  OwnedFile& file(Kind kind) { return files_[kind == Kind::shared ? 1 : 0]; }
  Words& words_of(Page& p) { return p.kind == Kind::shared ? shared_words_[p.index] : p.words; }
  bool is_beyond_end(const Page& p) {
    return p.kind != Kind::anon && p.index >= file(p.kind).pages;
  }
  template <class Change>
  void change(uint64_t first, uint64_t count, Change c) {
    for (uint64_t p = first; p < first + count; ++p) c(pages_[p]);
  }
  // What the page must be.
  PageBytes content(Page& p) {
    PageBytes page{};
    if (p.kind != Kind::anon) {
      std::array<std::byte, kPageSize> bytes;
      for (uint64_t i = 0; i < kPageSize; ++i) bytes[i] = object_byte(p.index, i);
      std::memcpy(page.data(), bytes.data(), kPageSize);
    }
    for (const auto& [word, value] : words_of(p)) page[word] = value;
    return page;
  }

  void map_anew(uint64_t first, uint64_t count) {
    ASSERT_TRUE(space_.map({.address = at(first),
                            .length = count * kPageSize,
                            .prot = kReadWriteProt,
                            .flags = MapFlags::private_ | MapFlags::anonymous | MapFlags::fixed}));
    change(first, count, [](Page& p) { p = {.mapped = true, .prot = kReadWriteProt}; });
  }
  void map_file(Kind kind, uint64_t first, uint64_t count) {
    const uint64_t index = pick(kPart - count);
    const MapFlags type = kind == Kind::shared ? MapFlags::shared : MapFlags::private_;
    ASSERT_TRUE(space_.map({.address = at(first),
                            .length = count * kPageSize,
                            .prot = kReadWriteProt,
                            .flags = type | MapFlags::fixed,
                            .file = file(kind).ref,
                            .offset = index * kPageSize}));
    for (uint64_t i = 0; i < count; ++i) {
      pages_[first + i] = {
          .mapped = true, .prot = kReadWriteProt, .kind = kind, .index = index + i};
    }
  }
  void unmap(uint64_t first, uint64_t count) {
    ASSERT_TRUE(space_.unmap(at(first), count * kPageSize));
    change(first, count, [](Page& p) { p = {}; });
  }
  // Up to the first hole, as Linux does.
  void protect(uint64_t first, uint64_t count, Prot prot) {
    const Result<void> done = space_.protect(at(first), count * kPageSize, prot);
    for (uint64_t p = first; p < first + count; ++p) {
      if (!pages_[p].mapped) {
        ASSERT_FALSE(done);
        ASSERT_EQ(done.error(), Error::nomem);
        return;
      }
      pages_[p].prot = prot;
    }
    ASSERT_TRUE(done);
  }
  void drop(uint64_t first, uint64_t count) {
    (void)space_.advise(at(first), count * kPageSize, Advice::dontneed);
    change(first, count, [](Page& p) { p.words.clear(); });
  }
  // Within the part, one page at a time, so that source and destination are simple.
  void move(uint64_t from) {
    const uint64_t to = pick(kPart);
    if (to == from || !pages_[from].mapped) return;
    const Result<Address> moved = space_.remap({.old_address = at(from),
                                                .old_length = kPageSize,
                                                .new_length = kPageSize,
                                                .flags = RemapFlags::maymove | RemapFlags::fixed,
                                                .new_address = at(to)});
    // The destination is unmapped before the source is looked at.
    if (moved) {
      pages_[to] = pages_[from];
      pages_[from] = {};
    } else {
      ASSERT_EQ(moved.error(), Error::nomem);
      pages_[to] = {};
    }
  }
  // The object gets shorter, and often longer again: what was beyond its end is what it says then.
  void truncate(Kind kind) {
    OwnedFile& f = file(kind);
    const uint64_t kept = pick(kPart);
    if (kept < f.pages) {
      f.object->resize(kept * kPageSize);
      engine_.truncate(f.ref);
      for (uint64_t i = kept; i < kPart && kind == Kind::shared; ++i) shared_words_[i].clear();
      change(0, kPart, [&](Page& p) {
        if (p.kind == kind && p.index >= kept) p.words.clear();
      });
      f.pages = kept;
    }
    if (pick(3) != 0) {
      f.pages = kPart;
      f.object->resize(kPart * kPageSize);
    }
  }
  void insert(uint64_t first, uint64_t count) {
    std::vector<PageBuffer> buffers(count);
    for (PageBuffer& buffer : buffers) {
      Result<PageBuffer> had = engine_.alloc_page();
      if (!had) return;
      buffer = std::move(*had);
      std::ranges::fill(buffer.bytes(), std::byte{0});
    }
    const uint64_t word = pick(kWords);
    const uint64_t value = random_();
    for (PageBuffer& b : buffers)
      std::memcpy(&b.bytes()[word * sizeof value], &value, sizeof value);
    // In one mapping of private memory, which the test does not know the ends of.
    if (!space_.insert_pages(at(first), buffers)) return;
    change(first, count, [&](Page& p) {
      ASSERT_TRUE(p.mapped && p.kind == Kind::anon);
      p.words = {{word, value}};
    });
  }
  // A child has this part as it is now, for nobody else changes it; and what it writes stays its.
  void fork() {
    const Result<std::unique_ptr<AddressSpace>> child = engine_.fork(space_, {});
    if (!child) return;
    for (uint64_t p = 0; p < kPart; ++p) load_page(**child, p);
    for (uint64_t p = 0; p < kPart; p += 3) {
      const uint64_t value = random_();
      if (pages_[p].kind != Kind::shared) (void)(*child)->store(at(p, 1), bytes_of(value));
    }
    for (uint64_t p = 0; p < kPart; p += 3) load_page(space_, p);
  }

  // Whether the access did what it should; false: it was refused for good reason.
  bool is_resolved(FaultOutcome outcome, Page& p, bool is_allowed) {
    if (outcome == FaultOutcome::out_of_memory) {
      ++refused_;
      return false;
    }
    const FaultOutcome expected = !p.mapped          ? FaultOutcome::map_error
                                  : !is_allowed      ? FaultOutcome::access_error
                                  : is_beyond_end(p) ? FaultOutcome::bus_error
                                                     : FaultOutcome::resolved;
    if (expected == FaultOutcome::resolved && outcome == FaultOutcome::bus_error &&
        may_be_unreadable) {
      ++refused_;
      return false;
    }
    EXPECT_EQ(outcome, expected);
    if (outcome != expected) failed = true;
    return outcome == FaultOutcome::resolved;
  }
  void load(uint64_t page, uint64_t word) {
    uint64_t value = 0;
    Page& p = pages_[page];
    const FaultOutcome outcome = space_.load(at(page, word), writable_bytes_of(value));
    if (!is_resolved(outcome, p, p.prot != Prot::none)) return;
    if (value != content(p)[word]) failed = true;
    ASSERT_EQ(value, content(p)[word]) << page << ' ' << word;
  }
  void load_page(AddressSpace& space, uint64_t page) {
    PageBytes bytes;
    Page& p = pages_[page];
    const FaultOutcome outcome = space.load(at(page), writable_bytes_of(bytes));
    if (!is_resolved(outcome, p, p.prot != Prot::none)) return;
    if (bytes != content(p)) failed = true;
    ASSERT_EQ(bytes, content(p)) << page;
  }
  void store(uint64_t page, uint64_t word) {
    const uint64_t value = random_();
    Page& p = pages_[page];
    const FaultOutcome outcome = space_.store(at(page, word), bytes_of(value));
    if (is_resolved(outcome, p, p.prot == kReadWriteProt)) words_of(p)[word] = value;
  }

  SoftEngine& engine_;
  AddressSpace& space_;
  const Address start_;
  std::mt19937_64 random_;
  const Mixture mixture_;
  std::array<OwnedFile, 2> files_;
  std::array<Page, kPart> pages_;
  std::array<Words, kPart> shared_words_;
  uint64_t refused_ = 0;

 public:
  bool may_be_unreadable = false;  // pages fail to be read back now and then
  bool failed = false;
};

}  // namespace pervma::test

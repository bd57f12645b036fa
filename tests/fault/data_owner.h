// data_owner.h: one thread's part of a space, and what every byte of it must be.
//
// A part is a row of pages in three zones: ordinary memory, a stack that grows down, and places of
// huge pages. What others do meanwhile (reclaim, forks, the collapser, the helper's deliveries) may
// not be seen in any of them.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "fault/soft_engine.h"
#include "tests/fault/shadow_tlb.h"
#include "tests/fault/support.h"

namespace pervma::test {

// maps: protections, mappings, moves and discards of anonymous memory. everything: besides, files,
// shared and private, truncation, msync, forks, stacks, pages of the caller's, user faults, a
// secondary MMU, advice that sends pages out, locked pages, and failing allocations. huge: besides,
// huge pages.
enum class Mixture : uint8_t { maps, everything, huge };

class Owner final : private UserFaultHandler {
 public:
  static constexpr uint64_t kPart = 64;  // pages: its neighbours' parts touch it
  static constexpr uint64_t kStack = 16;
  static constexpr uint64_t kRegion = kHugePageSize / kPageSize;
  static constexpr uint64_t kRegions = 3;  // those of the neighbours touch them
  static constexpr uint64_t pages_of(Mixture m) noexcept {
    return kPart + (m == Mixture::maps ? 0 : kStack) +
           (m == Mixture::huge ? kRegions * kRegion : 0);
  }

  // `tlb`: may be null.
  Owner(SoftEngine& engine, AddressSpace& space, ShadowTlb* tlb, unsigned self, unsigned seed,
        Mixture mixture);
  ~Owner();
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;

  void step();
  void check_all();
  // What somebody else does for him: brings pages, some before they are asked for, closes some to
  // stores, and wakes or stops him.
  void help(std::mt19937_64& random);

  using Counts = std::map<std::string, uint64_t>;
  const Counts& counts() const { return counts_; }
  // Accesses that found no memory, or a page that could not be read back.
  uint64_t refused() const { return refused_; }

  // Pages fail to be read back now and then, and somebody calls help().
  std::atomic<bool> is_rough{false};
  bool failed = false;

 private:
  static constexpr uint64_t kWords = kPageSize / sizeof(uint64_t);
  static constexpr Prot kReadWriteProt = Prot::read | Prot::write;
  enum class Kind : uint8_t { anon, copied, shared, memory };
  using Words = std::map<uint64_t, uint64_t>;  // those that were stored
  using PageBytes = std::array<uint64_t, kWords>;

  // What is known of a page's bytes. Fresh is zeros, or what the object says.
  struct Content {
    enum class State : uint8_t {
      absent,  // fresh for who looks
      open,    // fresh, or what the helper brings, for who looks
      there,
    };
    State state = State::absent;
    bool is_served = false;     // there, it is what the helper brought
    bool may_be_fresh = false;  // it may be there already: an access brought it and failed then
    bool may_vanish = false;    // it was given up by Advice::free, and is fresh when it has gone
    Words words{};
    Words late{};  // of these, what was stored since
  };
  struct Page {
    bool mapped = false;
    Prot prot = Prot::none;
    Kind kind = Kind::anon;
    uint64_t index = 0;  // in its file
    UserFaultModes modes = UserFaultModes::none;
    Content own{};
  };
  // A test object whose size its owner changes, and its pages where they are shared.
  struct OwnedFile {
    std::shared_ptr<TestObject> object;
    FileRef ref;
    uint64_t pages = kPart;
    std::array<Content, kPart> contents{};
  };
  struct Span {
    uint64_t first;
    uint64_t count;
  };

  // data_owner.cpp: what is known.
  Address at(uint64_t page, uint64_t word = 0) const;
  uint64_t pick(uint64_t n) { return random_() % n; }
  void count(const char* what) { ++counts_[what]; }
  bool is_in_stack(uint64_t page) const { return page >= kPart && page < kPart + kStack; }
  bool is_in_huge_zone(uint64_t page) const { return page >= kPart + kStack; }
  static bool is_shared(const Page& p) { return p.kind == Kind::shared || p.kind == Kind::memory; }
  OwnedFile& file(Kind kind) { return files_[static_cast<size_t>(kind) - 1]; }
  Content& content_of(Page& p) { return is_shared(p) ? file(p.kind).contents[p.index] : p.own; }
  bool is_beyond_end(const Page& p) {
    return p.kind != Kind::anon && p.index >= file(p.kind).pages;
  }
  Content forgotten(const Page& p) const;
  static void write_words(PageBytes& bytes, const Words& words);
  PageBytes fresh_bytes(const Page& p) const;
  bool fits(uint64_t page, bool in_child, const PageBytes& bytes);
  void looked_at(uint64_t page, const PageBytes& bytes, const char* by, bool in_child = false);
  bool is_resolved(FaultOutcome outcome, uint64_t page, bool is_allowed);
  template <class Change>
  void change(Span s, Change c) {
    for (uint64_t p = s.first; p < s.first + s.count; ++p) c(pages_[p]);
  }
  bool all_of(Span s, bool (*is)(const Page&)) const;
  Span any_span(uint64_t most);

  // data_operations.cpp: ordinary operations.
  void step_more(Span s);
  void step_stack();
  void step_huge();
  void load(uint64_t page, uint64_t word);
  void load_page(AddressSpace& space, uint64_t page);
  void store(uint64_t page, uint64_t word);
  void map_anew(Span s);
  void map_file(Kind kind, Span s);
  void unmap(Span s);
  void protect(Span s, Prot prot);
  void drop(Span s);
  void give_up(Span s);
  void page_out(Span s);
  void move(Span s);
  void truncate(Kind kind);
  void sync(Span s);
  void insert(Span s);
  void lock_one(uint64_t page);
  void fork();
  void fail_allocations();
  void note_growth(uint64_t page);
  void fill_region(uint64_t region);
  void collapse(uint64_t region);

  // data_devices.cpp: user faults and the secondary MMU.
  UserFaultAnswer fault(const UserFault&, const std::stop_token&) override;
  bool serve(const UserFault&);
  void begin_faults();
  void end_faults();
  std::stop_token stop();
  void step_served(Span s);
  void step_device();
  bool store_by_device(uint64_t page);
  bool load_by_device(uint64_t page);
  void register_faults(Span s);
  bool told(Span s, UserFaultModes modes);
  void unregister_faults(Span s);
  void close_and_store(uint64_t page);
  void copy_pages(Span s);
  void zero_pages(Span s);
  void filled(Span s, const UserFaultDone& done, const Content& with);
  void move_served(uint64_t from);

  SoftEngine& engine_;
  AddressSpace& space_;
  ShadowTlb* const tlb_;
  const unsigned self_;
  std::mt19937_64 random_;
  const Mixture mixture_;
  std::array<OwnedFile, 3> files_;
  std::vector<Page> pages_;
  PageBytes served_;                       // what the helper and the handler bring, everywhere
  std::array<uint64_t, 12> translated_{};  // pages that the device may know
  uint64_t refused_ = 0;
  Counts counts_;

  std::mutex faults_mutex_;  // whoever is no handler keeps the object with it
  std::unique_ptr<UserFaults> faults_;
  std::atomic<UserFaults*> told_through_{nullptr};
  std::atomic<uint32_t> told_{0};  // modes
  std::atomic<uint32_t> calls_{0};
  std::mutex stop_mutex_;
  std::stop_source stop_;
};

}  // namespace pervma::test

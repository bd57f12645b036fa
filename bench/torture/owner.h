// owner.h: a thread that changes its own lot of pages in every way there is, and knows what must be
// in it afterwards: which pages are mapped, with which rights, and their words.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/torture/marks.h"
#include "bench/torture/monitor.h"
#include "bench/torture/torture.h"
#include "pervma/engine.h"

namespace pervma::torture {

// What the owner knows of one page. Only some words are used.
struct Page {
  enum class Kind : uint8_t { anonymous, shared, file };
  static constexpr std::array<uint16_t, 8> kWords{0, 1, 7, 64, 255, 300, 509, 510};

  bool mapped = false;
  Kind kind = Kind::anonymous;
  VmaFlags flags;                   // those that are in a PageState
  uint64_t file_page = 0;           // of a file's page
  uint64_t name = 0;                // of an anonymous VMA; 0: none
  std::array<uint64_t, 8> words{};  // as stored last
  uint8_t stored = 0;               // which words were stored: the others are as at first
  bool may_be_fresh = false;        // freed lazily: any word may be as at first

  PageState state() const noexcept { return mapped ? PageState::of(flags) : PageState(); }
  bool is_private_anonymous() const noexcept { return mapped && kind == Kind::anonymous; }
  void forget_words() noexcept {
    stored = 0;
    may_be_fresh = false;
  }
  // Of a file's page.
  static constexpr uint64_t file_word(uint64_t page, uint64_t word) noexcept {
    return (page << 12 | word) + 1;
  }
  uint64_t first_word(unsigned i) const noexcept {
    return kind == Kind::file ? file_word(file_page, kWords[i]) : 0;
  }
};

class Owner {
 public:
  Owner(Engine& engine, AddressSpace& space, Arena& arena, Monitor& monitor, unsigned self,
        Broken broken, uint64_t seed);

  void step();
  // Every word that is known.
  void check_all();

 private:
  static constexpr uint64_t kPages = Arena::kLotPages;
  static constexpr Address kStacks{uint64_t{1} << 40};
  static constexpr Address kHugePlaces{uint64_t{1} << 41};

  struct Span {
    uint64_t first;
    uint64_t count;
  };
  // What an operation is expected to do.
  struct Change {
    const char* what;
    Span span;
    std::function<Page(Page, uint64_t)> after;         // of the page with this number
    std::function<Result<void>(std::stop_token)> run;  // the operation
    std::function<bool(Error)> may_fail = [](Error) { return false; };  // besides EINTR
    // Pages that it replaces although they look the same afterwards.
    std::function<bool(uint64_t)> replaces = [](uint64_t) { return false; };
    enum class OnStop : uint8_t { nothing_done, part_done } on_stop = OnStop::nothing_done;
  };

  // --- owner.cpp: the frame of every operation ---
  void change(const Change&);
  void settle(const Change&, const std::vector<Page>& next, const std::vector<bool>& marked, Error);
  using Joints = std::array<bool, 2>;
  Joints joints(Span) const;
  void count_edges(Joints before, Joints after);
  bool joined(uint64_t page) const;
  void violated(const std::string& what);
  std::stop_token some_stop();
  Span any_span();
  Span mapped_span();  // count 0: the page picked is not mapped
  Address at(uint64_t page) const noexcept { return base_ + page * kPageSize; }

  // --- owner_operations.cpp: on the lot ---
  struct Operation {
    const char* name;
    unsigned weight;
    void (Owner::*run)();
  };
  static const std::vector<Operation>& operations();
  void map();
  void map_noreplace();
  void unmap();
  void protect();
  void advise_flags();
  void advise_private();
  bool is_private_anonymous(Span) const noexcept;
  void drop();
  void free_lazily();
  void lock();
  void unlock();
  void name();
  void move();
  void move_and_leave();
  void resize();
  void load();
  void store();
  void insert();
  void load_word(AddressSpace&, uint64_t page, unsigned i, const char* what);
  // --- owner_faults.cpp: faults that the owner serves ---
  struct Server final : UserFaultHandler {
    UserFaultAnswer fault(const UserFault&, const std::stop_token&) override;
    UserFaults* faults = nullptr;
  };
  bool may_be_told(Span) const noexcept;
  void tell();
  void tell_no_more();
  void close_to_stores();
  void move_page();
  Page fresh_page(Page::Kind, Prot, uint64_t file_page) const;

  // --- owner_places.cpp: elsewhere in this space, and in others ---
  void heap();
  void stack();
  void map_anywhere();
  void huge_page();
  void cut_huge_page(std::vector<uint64_t>& words);
  void fork();
  void other_space();
  void seal_some(AddressSpace&);
  void check_child(AddressSpace& child);
  bool store_and_load(AddressSpace&, Address, uint64_t value);

  // --- owner_corners.cpp: on memory of its own ---
  void guards();
  void duplicate();

  Engine& engine_;
  AddressSpace& space_;
  Arena& arena_;
  Monitor& monitor_;
  ThreadState& me_;
  const unsigned self_;
  const Broken broken_;
  const Address base_;
  Random random_;
  std::shared_ptr<BackingObject> object_;
  FileRef file_;
  std::array<Page, kPages> pages_;
  Server server_;
  std::unique_ptr<UserFaults> faults_;  // the server's
  uint64_t values_ = 0;
  Address heap_end_{};  // thread 0's
  Address stack_{};
};

// Where the heap begins in every space of a run.
inline constexpr Address kHeap{uint64_t{1} << 38};

}  // namespace pervma::torture

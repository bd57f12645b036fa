// visitor.h: a thread that looks at pages of all owners and compares what it sees with their marks.
#pragma once

#include "bench/torture/marks.h"
#include "bench/torture/monitor.h"
#include "bench/torture/torture.h"
#include "pervma/address_space.h"

namespace pervma::torture {

class Visitor {
 public:
  Visitor(AddressSpace& space, const Arena& arena, Monitor& monitor, unsigned self, Broken broken,
          uint64_t seed) noexcept
      : space_(space),
        arena_(arena),
        monitor_(monitor),
        me_(monitor.thread(self)),
        self_(self),
        broken_(broken),
        random_{seed} {}

  void step();

 private:
  void hold();
  void find();
  void fault();
  void load();
  void store();
  void list();
  void advise();
  void look_through();

  // The VMA may not have changed since: what a hold promises.
  void check_held(const VmaInfo& first, const VmaInfo& last, uint64_t page, MarkValue begin,
                  MarkValue end);
  void check_outcome(const char* what, uint64_t page, Access, MarkValue before, FaultOutcome);
  void violated(uint64_t page, const std::string& what);
  void dawdle();

  uint64_t any_page() noexcept { return random_.below(arena_.pages()); }
  Address word_at(uint64_t page, uint64_t word) const noexcept {
    return Arena::at(page) + word * 8;
  }

  AddressSpace& space_;
  const Arena& arena_;
  Monitor& monitor_;
  ThreadState& me_;
  const unsigned self_;
  const Broken broken_;
  Random random_;
};

// The word of every page that visitors store to; owners use those below it.
inline constexpr uint64_t kVisitorsWord = 511;
// Words that an owner stores begin with its number.
inline constexpr unsigned kTagShift = 48;

}  // namespace pervma::torture

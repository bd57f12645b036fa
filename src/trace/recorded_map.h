// recorded_map.h: the protections that a recording itself establishes, address by address: what
// says whether a recorded fault had to be served. A plain interval map, independent of the engine.
#pragma once

#include <utility>
#include <vector>

#include "pervma/mapping.h"
#include "trace/event.h"
#include "trace/interval_map.h"

namespace pervma::trace {

class RecordedMap {
 public:
  struct Rights {
    Prot prot = Prot::none;
    bool grows_down = false;
  };

  void map(Range r, Rights rights) { pieces_.assign(r, rights); }
  void unmap(Range r) { pieces_.erase(r); }
  void protect(Range r, Prot prot) {
    std::vector<std::pair<Range, Rights>> changed;
    pieces_.for_each(r, [&](Range piece, const Rights& rights) {
      changed.emplace_back(piece, Rights{prot, rights.grows_down});
    });
    for (const auto& [piece, rights] : changed) pieces_.assign(piece, rights);
  }
  void move(Range from, Range to) {
    const Rights* rights = pieces_.at(from.start);
    const Rights kept = rights != nullptr ? *rights : Rights{};
    pieces_.erase(from);
    pieces_.assign(to, kept);
  }
  bool covers(Range r) const { return pieces_.covers(r); }

  // Whether the hardware's access would be allowed; reading needs any right, as on x86.
  bool allows(Address a, uint32_t error_code) const {
    const Rights* rights = pieces_.at(a);
    if (rights == nullptr) return false;
    if ((error_code & fault_code::kWrite) != 0) return any(rights->prot & Prot::write);
    if ((error_code & fault_code::kFetch) != 0) return any(rights->prot & Prot::exec);
    return any(rights->prot);
  }
  bool is_mapped(Address a) const { return pieces_.at(a) != nullptr; }

 private:
  IntervalMap<Rights> pieces_;
};

}  // namespace pervma::trace

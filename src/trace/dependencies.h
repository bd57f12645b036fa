// dependencies.h: which operations of a script must wait for which of other threads; everything
// else may run at the same time.
//
// - operations that change one space's map keep their order;
// - a fault, or another reader of pages, keeps its order with the changes of its own range;
// - a fault that makes an anon_vma keeps its order with whatever changes or makes one in its VMA or
// in
//   those adjacent, because merges there depend on it; a private write in a VMA that had one
//   already follows the fault (or merge) that gave it;
// - a thread begins after the operation before its creation.
//
// What VMAs there were and which fault made an anon_vma is found by playing the script once, alone.
#pragma once

#include <functional>
#include <vector>

#include "trace/script.h"
#include "trace/stage.h"

namespace pervma::trace {

struct Dependencies {
  // For operation i: of[first[i] .. first[i+1]), all smaller than i, none of i's own thread.
  std::vector<uint32_t> first;
  std::vector<OpIndex> of;
};

// Calls `visit` after each operation of the dry run (for a map at a point of the recording), if
// given; it returns false to stop there.
using Visit = std::function<bool(const Op&, const Stage&)>;

[[nodiscard]] Result<Dependencies> find_dependencies(const Script&, const Recording&,
                                                     const Visit& = {});

}  // namespace pervma::trace

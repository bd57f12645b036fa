// design_subjects.h: address spaces of every design as subjects of the benchmarks.
#pragma once

#include <memory>

#include "bench/subject.h"
#include "pervma/design.h"
#include "pervma/engine.h"

namespace pervma::bench {

// A space of the design, in an engine of its own, with room for `ranges` VMAs and some thousand
// more. A find is what a fault does first: the VMA read lock without the mmap lock, the mmap lock
// for read when that fails. Null: no memory.
SubjectPtr make_design_subject(Design, uint64_t ranges);

// A space in an engine of its own.
struct DesignSpace {
  std::unique_ptr<Engine> engine;
  std::unique_ptr<AddressSpace> space;  // goes first

  // Maps every range of the layout, in an order without pattern.
  bool fill(const Layout&) const;
};
// With room as above. `space` is null: no memory, or the design has no such options.
DesignSpace make_design_space(SpaceOptions, uint64_t ranges);

}  // namespace pervma::bench

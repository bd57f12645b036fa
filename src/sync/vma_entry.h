// vma_entry.h: what the word of a VMA's lock answers to a reader that knocks.
#pragma once

#include <cstdint>

namespace pervma {

enum class Entry : uint8_t {
  entered,   // counted: to be given back
  closed,    // a writer is, or waits, inside; or no more readers fit
  detached,  // the VMA is in no map
};

}  // namespace pervma

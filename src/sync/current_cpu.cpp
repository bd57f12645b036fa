#include "sync/current_cpu.h"

#include <unistd.h>

#include <algorithm>
#include <bit>

namespace pervma {

uint32_t cpu_slots() noexcept {
  static const uint32_t slots = [] {
    const long cpus = sysconf(_SC_NPROCESSORS_CONF);
    return std::bit_ceil(static_cast<uint32_t>(std::clamp(cpus, 1L, 64L)));
  }();
  return slots;
}

}  // namespace pervma

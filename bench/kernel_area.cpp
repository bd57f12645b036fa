#include "bench/kernel_area.h"

#include <sys/mman.h>

namespace pervma::bench {

namespace {
// The kernel gives a mapping without an address the first free place that holds it, from the top
// or from the bottom: what lies between two such rooms is not used before one of them is full.
constexpr uint64_t kRoomBeside = uint64_t{64} << 30;
}  // namespace

KernelArea::KernelArea(uint64_t bytes) noexcept : bytes_(bytes) {
  const uint64_t whole = kRoomBeside + bytes + kRoomBeside;
  void* const room =
      mmap(nullptr, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return;
  start_ = reinterpret_cast<uint64_t>(room) + kRoomBeside;
  // One mapping of no rights would make every other one two cuts: what is not used stays free.
  munmap(room, whole);
}

KernelArea::~KernelArea() {
  if (start_ != 0) munmap(pointer(start_), bytes_);
}

bool KernelArea::map(uint64_t offset, uint64_t bytes) noexcept {
  void* const at = pointer(start_ + offset);
  if (mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
           0) != at) {
    return false;
  }
  (void)madvise(at, bytes, MADV_NOHUGEPAGE);
  return true;
}

}  // namespace pervma::bench

#include "tree/slab_store.h"

#include <sys/mman.h>

namespace pervma::detail {

void* slab_map(size_t bytes, size_t align) noexcept {
  // Mapped with room to spare, then trimmed to the aligned part.
  const size_t room = bytes + align;
  void* memory = ::mmap(nullptr, room, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t slab = (begin + align - 1) & ~(align - 1);
  if (slab != begin) ::munmap(memory, slab - begin);
  const uintptr_t end = slab + bytes;
  if (begin + room != end) ::munmap(reinterpret_cast<void*>(end), begin + room - end);
  auto* result = reinterpret_cast<void*>(slab);
  // Only advice: without huge pages it is as right, and slower.
  if (bytes >= align) static_cast<void>(::madvise(result, bytes, MADV_HUGEPAGE));
  return result;
}

void slab_unmap(void* slab, size_t bytes) noexcept { ::munmap(slab, bytes); }

}  // namespace pervma::detail

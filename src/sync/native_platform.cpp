#include "sync/native_platform.h"

#include <cstdio>
#include <cstdlib>

namespace pervma {

void* NativePlatform::allocate(size_t bytes, size_t alignment) noexcept {
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void NativePlatform::deallocate(void* memory) noexcept { std::free(memory); }

void NativePlatform::report_saturated(const void* object) noexcept {
  std::fprintf(stderr, "pervma: the reference count at %p is saturated; its object is leaked\n",
               object);
}

}  // namespace pervma

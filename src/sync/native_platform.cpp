#include "sync/native_platform.h"

#include <cstdio>

namespace pervma {

void NativePlatform::report_saturated(const void* object) noexcept {
  std::fprintf(stderr, "pervma: the reference count at %p is saturated; its object is leaked\n",
               object);
}

}  // namespace pervma

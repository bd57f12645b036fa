#include "sync/mmap_lock.h"

#include "sync/mmap_lock_slow.h"
#include "sync/native_platform.h"

namespace pervma {

template class BasicMmapLock<NativePlatform>;

}  // namespace pervma

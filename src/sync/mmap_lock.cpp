#include "sync/mmap_lock.h"

#include "sync/mmap_lock_slow.h"

namespace pervma {

template class BasicMmapLock<NativePlatform>;

}  // namespace pervma

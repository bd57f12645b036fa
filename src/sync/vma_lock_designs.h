// vma_lock_designs.h: the lock designs on the native platform.
#pragma once

#include "sync/mmap_lock.h"
#include "sync/native_platform.h"
#include "sync/vma_lock_none.h"
#include "sync/vma_lock_refcount.h"

namespace pervma {

using MmapLockDesign = BasicMmapLockDesign<NativePlatform>;
using RefcountLock = BasicRefcountLock<NativePlatform>;

static_assert(VmaLockDesign<MmapLockDesign>);
static_assert(VmaLockDesign<RefcountLock>);
static_assert(sizeof(RefcountLock::Near) == 16 && sizeof(RefcountLock::Far) == 4);

}  // namespace pervma

// vma_lock_designs.h: the lock designs on the native platform.
#pragma once

#include "sync/mmap_lock.h"
#include "sync/native_platform.h"
#include "sync/vma_lock_none.h"
#include "sync/vma_lock_refcount.h"
#include "sync/vma_lock_scalable.h"
#include "sync/vma_lock_speculative.h"
#include "sync/vma_lock_word.h"

namespace pervma {

using MmapLockDesign = BasicMmapLockDesign<NativePlatform>;
using SpeculativeDesign = BasicSpeculativeDesign<NativePlatform>;
using RwsemLock = BasicRwsemLock<NativePlatform>;
using RwsemSplitLock = BasicRwsemSplitLock<NativePlatform>;
using CountLock = BasicCountLock<NativePlatform>;
using RefcountLock = BasicRefcountLock<NativePlatform>;
using ScalableLock = BasicScalableLock<NativePlatform>;

static_assert(VmaLockDesign<MmapLockDesign>);
static_assert(VmaLockDesign<SpeculativeDesign>);
static_assert(VmaLockDesign<RwsemLock>);
static_assert(VmaLockDesign<RwsemSplitLock>);
static_assert(VmaLockDesign<CountLock>);
static_assert(VmaLockDesign<RefcountLock>);
static_assert(VmaLockDesign<ScalableLock>);
static_assert(sizeof(RefcountLock::Near) == 16 && sizeof(RefcountLock::Far) == 4);

}  // namespace pervma

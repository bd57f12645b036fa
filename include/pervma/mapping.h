// mapping.h: what a caller asks of an address space. The values are those of Linux's system calls
// (mmap(2), mremap(2), madvise(2)), so that a caller's unknown bits are judged exactly as Linux
// judges them. All are plain values.
#pragma once

#include <cstdint>

#include "pervma/address.h"
#include "pervma/file.h"

namespace pervma {

// Rights of a mapping: a set of bits.
enum class Prot : uint32_t {
  none = 0,
  read = 1,
  write = 2,
  exec = 4,
  growsdown = 0x01000000,  // protect() only: from the start of a GROWSDOWN mapping
  growsup = 0x02000000,    // refused: no such mapping exists on the machines that pervma models
};

// Exactly one type (shared, private_, shared_validate, droppable) and any options.
enum class MapFlags : uint32_t {
  none = 0,
  shared = 0x01,
  private_ = 0x02,
  shared_validate = 0x03,
  droppable = 0x08,
  type_mask = 0x0f,
  fixed = 0x10,
  anonymous = 0x20,
  growsdown = 0x0100,
  denywrite = 0x0800,   // ignored, as by Linux
  executable = 0x1000,  // ignored, as by Linux
  locked = 0x2000,
  noreserve = 0x4000,
  populate = 0x8000,
  nonblock = 0x10000,
  stack = 0x20000,
  hugetlb = 0x40000,  // refused: huge-page file systems are not modelled
  sync = 0x80000,
  fixed_noreplace = 0x100000,
};

enum class RemapFlags : uint32_t { none = 0, maymove = 1, fixed = 2, dontunmap = 4 };

// mlock2(2).
enum class LockFlags : uint32_t { none = 0, onfault = 1 };

// mlockall(2): at least one of current and future.
enum class LockAllFlags : uint32_t { none = 0, current = 1, future = 2, onfault = 4 };

// msync(2): not async and sync together.
enum class SyncFlags : uint32_t { none = 0, async = 1, invalidate = 2, sync = 4 };

enum class Advice : int32_t {
  normal = 0,
  random = 1,
  sequential = 2,
  willneed = 3,
  dontneed = 4,
  free = 8,
  remove = 9,
  dontfork = 10,
  dofork = 11,
  mergeable = 12,
  unmergeable = 13,
  hugepage = 14,
  nohugepage = 15,
  dontdump = 16,
  dodump = 17,
  wipeonfork = 18,
  keeponfork = 19,
  cold = 20,
  pageout = 21,
  populate_read = 22,
  populate_write = 23,
  dontneed_locked = 24,
  collapse = 25,
  hwpoison = 100,
  soft_offline = 101,
  guard_install = 102,
  guard_remove = 103,
};

#define PERVMA_FLAG_OPERATORS(T, U)                                   \
  constexpr T operator|(T a, T b) noexcept { return T(U(a) | U(b)); } \
  constexpr T operator&(T a, T b) noexcept { return T(U(a) & U(b)); } \
  constexpr T operator~(T a) noexcept { return T(~U(a)); }            \
  constexpr bool any(T a) noexcept { return U(a) != 0; }
PERVMA_FLAG_OPERATORS(Prot, uint32_t)
PERVMA_FLAG_OPERATORS(MapFlags, uint32_t)
PERVMA_FLAG_OPERATORS(RemapFlags, uint32_t)
PERVMA_FLAG_OPERATORS(LockFlags, uint32_t)
PERVMA_FLAG_OPERATORS(LockAllFlags, uint32_t)
PERVMA_FLAG_OPERATORS(SyncFlags, uint32_t)
#undef PERVMA_FLAG_OPERATORS

// A request to map, as mmap(2) takes it.
struct MapRequest {
  Address address{};    // a hint, or the place itself with fixed / fixed_noreplace
  uint64_t length = 0;  // bytes; rounded up to whole pages
  Prot prot = Prot::none;
  MapFlags flags = MapFlags::none;
  FileRef file{};       // empty: no file (needs MapFlags::anonymous)
  uint64_t offset = 0;  // bytes into the file, page aligned
};

// A request to move or resize, as mremap(2) takes it.
struct RemapRequest {
  Address old_address{};
  uint64_t old_length = 0;
  uint64_t new_length = 0;
  RemapFlags flags = RemapFlags::none;
  Address new_address{};  // used with fixed or dontunmap
};

}  // namespace pervma

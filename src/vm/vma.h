// vma.h: one virtual memory area: a range of pages that are alike, and the lock inside it.
//
// States: detached (count 0; memory of the type-stable cache) -> attached (in the tree) ->
// detached. Two cache lines: the first is what a fault reads, the second holds the lock's count and
// what is rarely looked at, so that readers' writes do not disturb each other's reads of the first.
//
// field          written under                          read under
// range, pgoff   mmap write + VMA write                 mmap lock, or VMA read
// flags, name    mmap write + VMA write                 mmap lock, or VMA read
// file           before attach only                     as flags
// anon_vma       null -> set: mmap read + the space's   mmap lock, or VMA read (atomic: it may
//                anon lock; else mmap write + VMA write be set beside a reader)
// lock parts     by the lock design's table             anyone (atomics)
#pragma once

#include <atomic>
#include <cstdint>

#include "pervma/address.h"
#include "pervma/vma_info.h"
#include "sync/assert.h"
#include "sync/mmap_lock.h"
#include "sync/native_platform.h"
#include "sync/vma_lock.h"
#include "vm/anon_vma.h"
#include "vm/open_file.h"

namespace pervma {

// What fault and mapping code needs of a VMA whatever its lock design.
class VmaFields {
 public:
  union {
    Range range;      // while attached, or held by its maker
    void* free_link;  // while free; nobody reads the range then (design rule 9)
  };
  uint64_t pgoff;  // page offset of range.start in the file; of anonymous memory: see vm docs

  VmaFields() noexcept : free_link(nullptr), pgoff(0) {}

  VmaFlags flags() const noexcept { return flags_; }
  bool is_anonymous() const noexcept { return file == nullptr; }
  bool is_shared() const noexcept { return flags_.has(VmaFlag::shared); }
  Address start() const noexcept { return range.start; }
  Address end() const noexcept { return range.end; }
  // Page offset that the address has in the VMA's object.
  uint64_t pgoff_at(Address a) const noexcept { return pgoff + ((a - range.start) >> kPageShift); }

  // [V1] pairs with [V2]: who sees the identity also sees what its maker wrote into it.
  AnonVma* anon_vma() const noexcept {
    return anon_vma_.load(std::memory_order_acquire);  // [V1] pairs with [V2]
  }

  OpenFile* file = nullptr;  // counted

 protected:
  std::atomic<AnonVma*> anon_vma_{nullptr};  // counted
  VmaFlags flags_;
};
static_assert(sizeof(VmaFields) == 48);

template <VmaLockDesign L>
class alignas(64) Vma : public VmaFields {
 public:
  Vma() noexcept = default;
  Vma(const Vma&) = delete;
  Vma& operator=(const Vma&) = delete;

  // --- lock (see the design's own header for the protocol) ---
  typename L::Near near;
  alignas(64) mutable typename L::Far far;

  // --- rarely looked at ---
  AnonAncestors* ancestors = nullptr;  // counted; the chain without its own identity
  const char* name = nullptr;          // a name that outlives the space ([vdso]), or null
  Vma* next_detached = nullptr;        // links the VMAs that one operation removes

  // Waits for the readers of this VMA; free when done before under this hold of the mmap lock.
  // False: a stop was requested, nothing changed.
  [[nodiscard]] bool lock_write(MmapLock& mm, const std::stop_token& stop) noexcept
      PERVMA_REQUIRES(mm) {
    return L::lock_write(near, far, mm, stop);
  }
  void lock_write(MmapLock& mm) noexcept PERVMA_REQUIRES(mm) {
    const bool locked = L::lock_write(near, far, mm, std::stop_token{});
    PERVMA_ASSERT(locked);
  }
  bool is_detached() const noexcept { return L::is_detached(far); }

  // Before attach: nobody else can see the VMA.
  void init_flags(VmaFlags f) noexcept {
    PERVMA_DASSERT(is_detached());
    flags_ = f;
  }
  // Write-locks the VMA and sets its flags.
  void reset_flags(MmapLock& mm, VmaFlags f) noexcept PERVMA_REQUIRES(mm) {
    lock_write(mm);
    flags_ = f;
  }
  // Under the anon lock of the space and the mmap lock for read, or write-locked, or detached.
  void set_anon_vma(AnonVma* a) noexcept {
    anon_vma_.store(a, std::memory_order_release);  // [V2] pairs with [V1]
  }
  bool chain_is_singular() const noexcept { return ancestors == nullptr; }
};

}  // namespace pervma

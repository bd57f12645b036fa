// vma.h: one virtual memory area: a range of pages that are alike, and the lock inside it.
//
// States: detached (count 0; memory of the type-stable cache) -> attached (in the tree) ->
// detached. Two cache lines: the first is what a fault reads, the second holds the lock's count and
// what is rarely looked at, so that readers' writes do not disturb each other's reads of the first.
//
// field          written under                          read under
// range, pgoff   mmap write + VMA write + mappers lock  mmap lock, or VMA read, or mappers lock
// flags          mmap write + VMA write + mappers lock  mmap lock, or VMA read, or mappers lock
// name           mmap write + VMA write                 mmap lock, or VMA read
// user (context  mmap write + VMA write                 mmap lock, or VMA read
// and modes)
// file           before attach only                     as flags
// anon_vma       null -> set: mmap read + the space's   mmap lock, or VMA read (atomic: it may
//                anon lock; else mmap write + VMA write be set beside a reader)
// lock parts     by the lock design's table             anyone (atomics)
#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

#include "pervma/address.h"
#include "pervma/vma_info.h"
#include "sync/assert.h"
#include "sync/mmap_lock.h"
#include "sync/native_platform.h"
#include "sync/vma_lock.h"
#include "vm/user_context.h"
#include "vm/vma_fields.h"
#include "vm/vma_reaper.h"

namespace pervma {

template <class L>
using VmaFieldsOf =
    std::conditional_t<L::kReadKind == ReadKind::validated, RacyVmaFields, VmaFields>;

// The fields with the lock's two parts behind them, where the design wants them.
template <class L, FarPlace = L::kFarPlace>
class VmaWithLock : public VmaFieldsOf<L> {
 public:
  typename L::Near near;
  alignas(64) mutable typename L::Far far;
};
template <class L>
class VmaWithLock<L, FarPlace::first_line> : public VmaFieldsOf<L> {
 public:
  mutable typename L::Far far;
  typename L::Near near;
};

struct NoVmaGrave {};

template <VmaLockDesign L>
class alignas(64) Vma : public VmaWithLock<L>, public MapperLink {
 public:
  using VmaWithLock<L>::near;
  using VmaWithLock<L>::far;

  Vma() noexcept = default;
  Vma(const Vma&) = delete;
  Vma& operator=(const Vma&) = delete;

  // --- rarely looked at ---
  AnonAncestors* ancestors = nullptr;  // counted; the chain without its own identity
  const char* name = nullptr;          // a name that outlives the space ([vdso]), or null
  Vma* next_detached = nullptr;        // links the VMAs that one operation removes; and free ones
  [[no_unique_address]] std::conditional_t<L::kFreesByRcu, VmaGrave<Vma>, NoVmaGrave> grave;

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
  // The cache's link while the VMA is free; stale readers do not look at it.
  void* free_next() const noexcept { return next_detached; }
  void set_free_next(void* next) noexcept { next_detached = static_cast<Vma*>(next); }
  bool is_detached() const noexcept { return L::is_detached(far); }

  // Before attach: nobody else can see the VMA.
  void init_flags(VmaFlags f) noexcept {
    PERVMA_DASSERT(is_detached());
    this->flags_ = f;
  }
  // Write-locks the VMA and sets its flags.
  void reset_flags(MmapLock& mm, VmaFlags f) noexcept PERVMA_REQUIRES(mm) {
    lock_write(mm);
    // Who comes from a frame asks whether the memory is locked.
    const MappersGuard guard(joined());
    this->flags_ = f;
  }
  // Who is told of faults in the VMA; null: nobody. Before attach, or write-locked.
  void set_user_faults(UserContext* context, UserFaultModes modes) noexcept {
    if (context != nullptr) context->hold();
    if (UserContext* const old = this->user_context()) old->drop();
    this->user_ = UserRegistration(context, modes);
  }
  // Under the anon lock of the space and the mmap lock for read, or write-locked, or detached.
  void set_anon_vma(AnonVma* a) noexcept { IdentityWord::set(this->anon_vma_, a); }
  bool chain_is_singular() const noexcept { return ancestors == nullptr; }

  // The list that the VMA is in, if it is in one. Under the mmap lock for write, or while nobody
  // else sees it.
  Mappers* joined() const noexcept { return is_linked() ? this->mappers() : nullptr; }
};

template <VmaLockDesign L>
using VmaReaperOf = std::conditional_t<L::kFreesByRcu, VmaReaper<Vma<L>>, NoVmaReaper<Vma<L>>>;

}  // namespace pervma

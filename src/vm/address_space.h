// address_space.h: the map of one space, for one lock design: every mapping operation, and the ways
// to a VMA for whoever serves its faults. Pages are reached through an Mmu; faults and data access
// are added by src/fault, which derives from this.
//
// Lock order: mmap lock > VMA write lock > anon lock > mappers lock. Every function below that is
// annotated PERVMA_REQUIRES(mm_) runs under the mmap lock for write.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "pervma/address_space.h"
#include "pervma/engine.h"
#include "sync/mmap_lock.h"
#include "sync/native_platform.h"
#include "sync/rcu.h"
#include "sync/tracked_mutex.h"
#include "tree/maple_tree.h"
#include "vm/mmu.h"
#include "vm/vm_context.h"
#include "vm/vma.h"
#include "vm/vma_rules.h"

namespace pervma {

// An address written under the mmap lock for write and read with or without it, because what it
// decides (the name of a mapping) is only for show there.
class ShownAddress {
 public:
  Address get() const noexcept { return Address{value_.load(std::memory_order_relaxed)}; }
  Address operator=(Address a) noexcept {
    value_.store(a.value, std::memory_order_relaxed);
    return a;
  }

 private:
  std::atomic<uint64_t> value_{0};
};

// Why lock_vma_under_rcu() came back without a VMA: the fault path counts them apart.
// `missed`, a detached VMA, is looked up again: no caller sees it.
enum class LookupEnd : uint8_t { locked, aborted, missed };

template <VmaLockDesign L>
class BasicAddressSpace : public AddressSpace {
 public:
  using VmaT = Vma<L>;

  class AllLocks;  // all_locks.h

  struct Lookup {
    LookupEnd end;
    uint8_t misses;  // times a detached VMA was met
    VmaT* vma;       // read-locked when end == locked
    typename L::Token token;
  };

  BasicAddressSpace(VmContext& context, Mmu& mmu, const SpaceOptions& options) noexcept;
  ~BasicAddressSpace() override;

  Result<Address> map(const MapRequest&, const std::stop_token&) override;
  Result<void> unmap(Address, uint64_t length, const std::stop_token&) override;
  Result<void> protect(Address, uint64_t length, Prot, const std::stop_token&) override;
  Result<void> advise(Address, uint64_t length, Advice, const std::stop_token&) override;
  Result<Address> remap(const RemapRequest&, const std::stop_token&) override;
  Address brk(Address, const std::stop_token&) override;
  Result<void> lock(Address, uint64_t length, LockFlags, const std::stop_token&) override;
  Result<void> unlock(Address, uint64_t length, const std::stop_token&) override;
  Result<void> lock_all(LockAllFlags, const std::stop_token&) override;
  Result<void> unlock_all(const std::stop_token&) override;
  Result<void> seal(Address, uint64_t length, const std::stop_token&) override;
  Result<void> set_name(Address, uint64_t length, std::string_view,
                        const std::stop_token&) override;
  Result<void> sync(Address, uint64_t length, SyncFlags, const std::stop_token&) override;
  Result<void> residency(Address, uint64_t length, std::span<uint8_t>,
                         const std::stop_token&) const override;
  Result<void> add_notifier(PageNotifier&, const std::stop_token&) override;
  void remove_notifier(PageNotifier&) override;
  Result<void> clear_written(Address, uint64_t length, const std::stop_token&) override;
  Result<void> written(Address, uint64_t length, std::span<uint8_t>,
                       const std::stop_token&) const override;
  void set_brk_start(Address) override;
  Result<void> map_special(Range, Prot, const char* name) override;
  void set_stack(Address) override;
  // The derived class's destructor calls it too, while the Mmu still works.
  void exit() noexcept override;

  std::vector<VmaInfo> vmas() const override;
  std::vector<VmaInfo> vmas_in(Range) const override;
  void for_each_vma(Range, VmaVisitor&) const override;
  std::optional<VmaInfo> find_vma(Address) const override;
  std::string to_maps() const override;
  SpaceStatistics statistics() const override;
  uint64_t map_count() const override;
  PageCount mapped_pages() const override;
  PageCount locked_pages() const override;
  Design design() const noexcept override;
  LockCounters lock_counters() const noexcept override;
  std::string check() const override;

  // --- For the fault path ------------------------------------------------------------------------

  // The VMA at the address, read-locked, without the mmap lock. Looks up again at most twice after
  // a detached one. Never waits. End it with end_read().
  [[nodiscard]] Lookup lock_vma_under_rcu(Address) const noexcept;
  // The first VMA that ends beyond the address, read-locked, or nothing when there is none below
  // `limit`; a gap is re-validated, so that none is reported that never was (rule R20). Falls back
  // to the mmap lock for read.
  struct NextVma {
    VmaT* vma;  // null: nothing up to the limit
    typename L::Token token;
  };
  [[nodiscard]] NextVma lock_next_vma(Address from, Address limit) const noexcept
    requires(kLocksVmas<L>);
  static void end_read(VmaT& vma, const typename L::Token& token) noexcept {
    L::end_read(vma.far, token);
  }

  MmapLock& mmap_lock() const noexcept PERVMA_RETURN_CAPABILITY(mm_) { return mm_; }
  // The VMA that holds the address, or null. Under the mmap lock.
  VmaT* vma_at(Address) const noexcept;
  // The first VMA that ends beyond the address, or null. Under the mmap lock.
  VmaT* vma_from(Address) const noexcept;
  // Gives the VMA an anon_vma when it has none: a neighbour's when they could merge, else a new
  // one. Under the mmap lock for read at least. False: no memory.
  [[nodiscard]] bool prepare_anon_vma(VmaT&) noexcept;
  // Grows the GROWSDOWN VMA above the address down to it. Under the mmap lock for write. Null:
  // there is none, or it may not grow.
  VmaT* expand_stack(Address) noexcept PERVMA_REQUIRES(mm_);

  // A step of the background collapser (collapse.h). Takes the mmap lock.
  CollapseScan scan_for_collapse(Address from, unsigned looks) noexcept;

  // Serves a fault in the VMA. Under the mmap lock, for write if need be; may wait for the page.
  virtual FaultOutcome fault_in(VmaT&, Address, Access) noexcept = 0;

  // --- user_registration.h ---
  Result<Range> checked_user_range(Address start, uint64_t length) const noexcept;
  Result<void> register_user_faults(UserContext&, Address, uint64_t length, UserFaultModes,
                                    const std::stop_token&) noexcept;
  Result<void> unregister_user_faults(UserContext&, Address, uint64_t length,
                                      const std::stop_token&) noexcept;
  void release_user_faults(const UserContext&) noexcept;
  // Under the mmap lock.
  bool has_exited() const noexcept { return exited_; }

  // Fills this (new, empty) space with a copy of the parent's map, and its pages through the Mmus.
  Result<void> copy_from(BasicAddressSpace& parent, const std::stop_token&) noexcept;

 protected:
  static constexpr uint8_t kMaxMisses = 2;
  [[gnu::always_inline]] Lookup look_once(Address) const noexcept;
  [[gnu::noinline, gnu::cold]] Lookup look_again(Address) const noexcept;

  std::optional<PinnedVma> pin_vma(Address) const override;
  void unpin_vma(void* vma, uint64_t token) const noexcept override;
  VmaInfo pinned_info(void* vma) const override;

  mutable MmapLock mm_;
  Mmu& mmu_;

 private:
  static constexpr uint64_t kLastIndex = ~uint64_t{0} - 1;

  // What one operation may need at most; had before anything is changed, so that the rest cannot
  // fail.
  struct Need {
    unsigned vmas;
    unsigned stores;
  };
  // VMAs taken out by one operation, detached and in order, and the hole that they leave between
  // their neighbours.
  struct Removed {
    VmaT* first = nullptr;
    VmaT* last = nullptr;
    uint64_t pages = 0;
    Range span{};    // from the first's start to the last's end
    Range limits{};  // between the neighbours that stay
  };
  // A merge to be tried: `range` is new (middle null) or a part of `middle` that is to become what
  // `traits` say. `source` has the anonymous pages that the range will hold, if any.
  struct Merge {
    RangeTraits traits;
    VmaT* prev;
    VmaT* middle;
    VmaT* next;
    const VmaT* source;
    // Of a new range: it goes on where its source ends, instead of being a copy of it.
    bool continues = false;
  };
  enum class NewHalf : uint8_t { below, above };
  // What populate() does about a page that cannot be had.
  enum class OnFailure : uint8_t { stop, next_vma };

  // --- vma_edit.h: the only code that changes the tree, bounds and the count ---
  [[nodiscard]] bool reserve(Need) noexcept PERVMA_REQUIRES(mm_);
  VmaT& take_spare() noexcept PERVMA_REQUIRES(mm_);
  void destroy(VmaT&) noexcept;
  void copy_fields(VmaT& to, const VmaT& from) noexcept;
  void give_anon_vma(VmaT& to, const VmaT& from) noexcept;
  void drop_anon_vma(VmaT&) noexcept;
  static void join_mappers(VmaT&) noexcept;
  static void leave_mappers(VmaT&) noexcept;
  void insert(VmaT&) noexcept PERVMA_REQUIRES(mm_);
  void write_to_tree(VmaT&) noexcept PERVMA_REQUIRES(mm_);
  void remove_merged(VmaT&) noexcept PERVMA_REQUIRES(mm_);
  VmaT& split(VmaT&, Address at, NewHalf) noexcept PERVMA_REQUIRES(mm_);
  VmaT* merge_new(const Merge&) noexcept PERVMA_REQUIRES(mm_);
  VmaT* merge_existing(const Merge&) noexcept PERVMA_REQUIRES(mm_);
  VmaT* merge_range(const Merge&, bool left, bool right) noexcept PERVMA_REQUIRES(mm_);
  Result<VmaT*> modify(VmaT&, Range, const VmaLook&) noexcept PERVMA_REQUIRES(mm_);
  VmaT* prev_of(Address start) const noexcept;

  // --- unmap.h ---
  Result<Removed> gather(Range) noexcept PERVMA_REQUIRES(mm_);
  void detach_all(const Removed&) noexcept PERVMA_REQUIRES(mm_);
  void unlink(const Removed&) noexcept PERVMA_REQUIRES(mm_);
  void dispose(const Removed&) noexcept;
  Result<void> unmap_reserved(Range) noexcept PERVMA_REQUIRES(mm_);
  bool is_in_space(Address start, uint64_t length) const noexcept {
    return start <= options_.top && length <= options_.top - start;
  }

  // --- brk.h ---
  Address shrink_heap(Range gone, Address wanted, MmapWrite) noexcept;
  bool grow_heap(Range more) noexcept PERVMA_REQUIRES(mm_);

  // --- map.h, place.h ---
  Result<Address> find_place(Address hint, uint64_t length, const OpenFile*,
                             MapFlags) const noexcept;
  std::optional<Address> find_gap(uint64_t length) const noexcept;
  std::optional<Address> find_huge_aligned(uint64_t length) const noexcept;
  std::optional<Address> highest_gap(uint64_t length, Address low, Address high) const noexcept;
  std::optional<Address> lowest_gap(uint64_t length, Address low, Address high) const noexcept;
  Result<VmaFlags> flags_for(const MapRequest&, uint64_t length) const noexcept;
  Result<Address> map_locked(const MapRequest&, uint64_t length) noexcept PERVMA_REQUIRES(mm_);
  Result<void> install(const RangeTraits&) noexcept PERVMA_REQUIRES(mm_);

  // --- limits.h, lock_memory.h ---
  bool may_map(uint64_t pages) const noexcept;
  bool may_lock(VmaFlags, uint64_t bytes) const noexcept;
  Result<void> apply_lock(Address start, uint64_t length, VmaFlags) noexcept PERVMA_REQUIRES(mm_);
  Result<void> lock_part(VmaT&, Range, VmaFlags) noexcept PERVMA_REQUIRES(mm_);
  void lock_everything(VmaFlags) noexcept PERVMA_REQUIRES(mm_);
  uint64_t locked_pages_in(Range) const noexcept;
  Result<void> seal_part(VmaT&, Range) noexcept PERVMA_REQUIRES(mm_);

  // --- populate.h: needs no lock ---
  struct Populate {
    Range range;
    VmaFlags flags;
  };
  // Nothing: there is none. Error::intr.
  Result<std::optional<Populate>> next_to_populate(Address from, Address end,
                                                   const std::stop_token&) const noexcept;
  FaultOutcome populate(Range, OnFailure, const std::stop_token& = {}) noexcept;
  Result<void> advise_populate(Range, Access, const std::stop_token&) noexcept;

  // --- protect.h, advise.h, collapse.h ---
  Result<void> protect_one(VmaT&, Range, Prot) noexcept PERVMA_REQUIRES(mm_);
  Result<void> advise_flags(Range, Advice, const std::stop_token&) noexcept;
  Result<void> advise_pages(Range, Advice, const std::stop_token&) noexcept;
  Result<void> advise_read_locked(Range, Advice, const std::stop_token&) noexcept;
  Result<void> advise_pages_of(const VmaT&, Range, Advice) noexcept;
  Result<void> install_guards(VmaT&, Range) noexcept PERVMA_REQUIRES(mm_);
  Result<void> change_flags(VmaT&, Range, VmaFlags, const char* name) noexcept PERVMA_REQUIRES(mm_);
  Result<void> change_look(VmaT&, Range, const VmaLook&) noexcept PERVMA_REQUIRES(mm_);
  Result<void> advise_collapse(Range, const std::stop_token&) noexcept;
  Result<void> collapse_part(Range, const std::stop_token&) noexcept;
  CollapseEnd collapse_one(Address, CollapseWish, const std::stop_token&) noexcept;
  template <class Visit>
  Result<void> for_each_part(Range, Visit visit) noexcept;

  // --- user_registration.h ---
  template <class Visit>
  Result<void> for_each_told_part(Range, Visit visit) noexcept;
  Result<void> change_user_faults(VmaT&, Range, UserContext*, UserFaultModes) noexcept
      PERVMA_REQUIRES(mm_);

  // --- remap.h ---
  struct RemapState;
  Result<void> remap_prepare(RemapState&) noexcept PERVMA_REQUIRES(mm_);
  Result<Address> remap_several(RemapState&) noexcept PERVMA_REQUIRES(mm_);
  Result<Address> remap_to(RemapState&) noexcept PERVMA_REQUIRES(mm_);
  Result<Address> remap_expand(RemapState&) noexcept PERVMA_REQUIRES(mm_);
  Result<Address> remap_move(RemapState&) noexcept PERVMA_REQUIRES(mm_);
  VmaT* copy_vma(RemapState&) noexcept PERVMA_REQUIRES(mm_);
  Result<Address> remap_locked(RemapState&, MmapWrite) noexcept;

  // --- lifecycle.h ---
  [[nodiscard]] bool fork_anon_vma(VmaT& child, const VmaT& parent) noexcept;
  Result<bool> copy_one(const VmaT& from) noexcept PERVMA_REQUIRES(mm_);
  VmaT* detach_everything() noexcept PERVMA_REQUIRES(mm_);
  void take_down(Address end) noexcept PERVMA_REQUIRES(mm_);

  // --- maps.h ---
  template <class Visit>
  void walk_vmas(Visit visit) const;
  static MapperView view_of(const MapperLink& link) noexcept {
    const auto& v = static_cast<const VmaT&>(link);
    return {v.range, v.pgoff, v.flags()};
  }
  VmaInfo info_of(const VmaT&) const;
  void tell(const VmaT&) const noexcept PERVMA_REQUIRES(mm_);

  VmContext& context_;
  TypeStableCache<VmaT>& cache_;
  VmaReaperOf<L> reaper_;
  const SpaceOptions options_;
  const MapperSpace mapper_space_{mmu_, &view_of};
  // Under mm_ (the tree also under RCU, by its own rules).
  MapleTree tree_;
  uint64_t map_count_ = 0;
  uint64_t mapped_pages_ = 0;
  uint64_t locked_pages_ = 0;  // as Linux counts: a DONTUNMAP move of locked memory counts twice
  VmaFlags future_flags_;      // lock_all(future): of every new mapping
  VmaT* spares_ = nullptr;     // detached VMAs in hand, linked by next_detached
  unsigned spare_count_ = 0;
  ShownAddress brk_start_;
  ShownAddress brk_;
  ShownAddress stack_;
  bool exited_ = false;
  // Serialises the making of identities among faults that hold the mmap lock for read.
  TrackedMutex<LockTracker::Kind::anon> anon_mutex_;
};

}  // namespace pervma

// soft_mmu.h: the MMU in software: page tables over frames of the engine's pool. One per space.
//
// It knows nothing of locks on VMAs: whoever calls serve() keeps the VMA by its read lock or by the
// mmap lock, and says which, because some faults may be served under the mmap lock only. One source
// file per kind of fault: anon_fault.cpp, file_fault.cpp, swap_fault.cpp, copy_on_write.cpp,
// user_fault.cpp, huge_fault.cpp, chosen by serve.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>

#include "fault/awaited_page.h"
#include "fault/notifiers.h"
#include "fault/page_caches.h"
#include "fault/page_table.h"
#include "fault/reclaim.h"
#include "fault/swap.h"
#include "pervma/fault.h"
#include "pervma/page_buffer.h"
#include "vm/mmu.h"

namespace pervma {

// What the server of a fault holds, and so what it may do.
enum class FaultHold : uint8_t {
  speculation,         // nothing: a copy of the VMA, and an RCU read section; nothing that waits
  vma_lock,            // only what is known to be safe under it, and nothing that waits
  mmap_lock,           // anything that does not wait
  mmap_lock_may_wait,  // anything: the page was waited for once already, and is likely there
};

enum class FaultStep : uint8_t {
  resolved,
  map_error,     // a guard page
  access_error,  // the VMA does not allow it: said by serve()'s callers, who know its lock
  bus_error,     // beyond the end of the file, or unreadable
  interrupted,   // stopped while another thread reads the page
  out_of_memory,
  // Not decided yet:
  needs_anon_vma,   // give the VMA one, then serve again
  needs_mmap_lock,  // not to be served under the VMA lock
  must_wait,        // release all locks, bring the page in, then serve under the mmap lock
  // Release all locks, tell the embedder, wait for him, then serve under the mmap lock:
  user_missing,
  user_write_protect,
  user_minor,
};

constexpr bool is_decided(FaultStep step) noexcept { return step < FaultStep::needs_anon_vma; }
constexpr bool is_user_fault(FaultStep step) noexcept { return step >= FaultStep::user_missing; }

// What a speculative fault asks under the page table's lock, before it sets an entry: whether the
// space was written since its copy of the VMA was made.
struct Validation {
  const MmapLock* mm = nullptr;  // null: a lock keeps the VMA
  uint64_t seq = 0;

  bool holds() const noexcept { return mm == nullptr || !mm->speculate_retry(seq); }
};

// A fault that the VMA's flags allow. The VMA is kept by the caller's lock, or is a copy.
struct FaultRequest {
  const VmaFields& vma;
  Address address;
  Access access;
  FaultHold hold;
  Validation validation = {};
  const std::stop_token* stop = nullptr;  // ends the wait for another thread's read; null: nothing

  std::stop_token stop_token() const noexcept {
    return stop != nullptr ? *stop : std::stop_token{};
  }
};

class SoftMmu final : public Mmu {
 public:
  // Takes over the root table, a zeroed table frame of the pool. `reclaim` and `swap`: null, or the
  // engine's, and then both.
  SoftMmu(FramePool& frames, PageCaches& caches, Frame root, Swap* swap = nullptr,
          Reclaim* reclaim = nullptr) noexcept
      : frames_(frames), caches_(caches), swap_(swap), reclaim_(reclaim), tables_(frames, root) {}

  // --- faults and data ---------------------------------------------------------------------------

  // Makes the access possible, or says what stands in the way. In no RCU read section: it may wait
  // for a grace period when frames run out. About 20 ns when the page is there, else the page's
  // cost.
  [[nodiscard]] FaultStep serve(const FaultRequest& fault) noexcept;
  // What the fault that answered must_wait has to wait for; the VMA is still kept.
  [[nodiscard]] AwaitedPage awaited(const VmaFields&, Address) noexcept;
  enum class Reach : uint8_t { done, faults };
  // Bytes of one page, as a processor's loads. Lock-free; `faults` when the entry does not allow
  // it.
  [[nodiscard]] Reach load(Address, std::span<std::byte> to) const noexcept;
  // The same for stores; takes the lock of the page's table.
  [[nodiscard]] Reach store(Address, std::span<const std::byte> from) noexcept;

  // Where the page is, if its entry allows the access. Lock-free.
  [[nodiscard]] std::byte* translate(Address, Access) const noexcept;
  // Puts the pages into the VMA, which is anonymous, has an anon_vma and holds them all; those that
  // were put are empty afterwards (zero_copy.cpp).
  struct Insertion {
    std::optional<Error> error;
    std::size_t done = 0;
  };
  Insertion insert(const VmaFields&, Address, std::span<PageBuffer>) noexcept;

  // --- answers to user faults (user_copy.cpp) ----------------------------------------------------

  // Fills pages of the VMA where none are: with prepared frames, with zeros, or with what its
  // object has. A lock keeps the VMA, which holds the pages and, private, has an anon_vma.
  enum class Filling : uint8_t { frames, zeros, cached };
  struct Fillment {
    Address at;
    std::size_t pages;
    Filling with;
    bool closed;              // to stores
    std::span<Frame> frames;  // as many; those that may not be given back at once are empty after
  };
  Insertion fill(const VmaFields&, const Fillment&) noexcept;
  // Takes private pages to another VMA, or another place in the same one. Locks keep both, and the
  // destination's has an anon_vma.
  struct PageMove {
    const VmaFields& to_vma;
    Address to;
    const VmaFields& from_vma;
    Address from;
    std::size_t pages;
    bool over_holes;
  };
  Insertion move_pages(const PageMove&) noexcept;
  // Closes pages to stores, or opens them; `unpopulated`: anonymous ones that are not there too. A
  // lock keeps the VMA, and the range lies in it. Error::nomem.
  enum class Closing : uint8_t { open, close, close_unpopulated };
  Result<void> close_pages(const VmaFields&, Range, Closing) noexcept;

  // --- mapping operations ------------------------------------------------------------------------

  void zap(Range) noexcept override;
  void discard(Range) noexcept override;
  void mark_freed(Range) noexcept override;
  void reclaim(const VmaFields&, Range) noexcept override;
  void age(Range) noexcept override;
  Result<void> install_guards(Range) noexcept override;
  void remove_guards(Range) noexcept override;
  void free_tables(Range span, Range limits) noexcept override;
  void protect(Range, VmaFlags flags) noexcept override;
  Result<void> move(Range from, Address to) noexcept override;
  Result<void> copy_to(Mmu& child, const VmaFields& vma) noexcept override;
  void residency(const VmaFields&, Range, std::span<uint8_t> to) const noexcept override;
  PageUse page_use(Range) const noexcept override;
  void clear_written(Range) noexcept override;
  void written(Range, std::span<uint8_t> to) const noexcept override;
  bool may_tell(const VmaFields&, UserFaultModes) const noexcept override;
  void clear_user_protection(Range) noexcept override;
  CollapseProspect collapse_prospect(Range) const noexcept override;  // collapse.cpp
  bool is_swapped(Address a) const noexcept override { return entry_at(a).is_swap(); }
  HugeMemory alloc_huge() noexcept override;
  void free_huge(HugeMemory) noexcept override;
  CollapseEnd collapse(const VmaFields&, Address, HugeMemory) noexcept override;
  Result<void> add_notifier(PageNotifier& n) noexcept override { return notifiers_.add(n); }
  void remove_notifier(PageNotifier& n) noexcept override { notifiers_.remove(n); }
  const char* check(const VmaFields&) const noexcept override;
  Result<void> write_back(OpenFile&, uint64_t first_page, PageCount) noexcept override;
  Result<void> punch_hole(OpenFile&, uint64_t first_page, PageCount) noexcept override;
  Result<FileRef> create_shared_memory(uint64_t bytes) noexcept override;

  // Takes the pages that the object is too short for out of every mapping (reverse_map.cpp).
  static void unmap_beyond_end(PageCache&) noexcept;
  // Takes the right to write one page of the cache from every mapping.
  static void write_protect_all(PageCache&, uint64_t index) noexcept;

  // Whether the page may go to the store, and its going, with the mappers locked (swap_fault.cpp).
  static bool may_evict(Mappers&, uint64_t index, Frame, bool ask) noexcept;
  static void exchange_for_slot(Mappers&, uint64_t index, Frame, Swap&, uint32_t slot) noexcept;

  // A moment's entry, of a huge page the part; for tests and statistics.
  [[nodiscard]] PageEntry entry_at(Address) const noexcept;

 private:
  // Empty: somebody else changed the entry meanwhile, look at it again.
  using Step = std::optional<FaultStep>;

  // Whether the VMA's object may be called, and its pages handed out, under the VMA lock.
  static bool may_ask_under_vma_lock(const VmaFields& vma) noexcept;
  FaultStep serve_without_leaf(const FaultRequest&, LeafSlot none) noexcept;  // huge_fault.cpp
  Step serve_huge(const FaultRequest&, HugeSlot) noexcept;
  Reach load_huge(Address, std::span<std::byte> to) const noexcept;
  Reach store_huge(Address, std::span<const std::byte> from) noexcept;
  Step serve_present(const FaultRequest&, LeafSlot, PageEntry seen) noexcept;  // serve.cpp
  Step serve_anonymous(const FaultRequest&, LeafSlot) noexcept;                // anon_fault.cpp
  Step serve_file(const FaultRequest&, LeafSlot) noexcept;                     // file_fault.cpp
  struct CacheMoment;
  Step map_cached(const FaultRequest&, LeafSlot, Frame cached, const CacheMoment&) noexcept;
  void map_around(const FaultRequest&, LeafSlot, const CacheMoment&) noexcept;
  bool map_one(LeafSlot, Frame held, Right rights, const CacheMoment&) noexcept;
  Step install_copy(const FaultRequest&, LeafSlot, Frame cached, const CacheMoment&) noexcept;
  Step serve_told(const FaultRequest&, LeafSlot, PageEntry seen) noexcept;  // user_fault.cpp
  Step serve_closed(const FaultRequest&, LeafSlot, PageEntry seen) noexcept;
  Step show_closed(const FaultRequest&, LeafSlot, PageEntry seen) noexcept;
  std::optional<Error> fill_private(const VmaFields&, Address, const Fillment&, Frame*) noexcept;
  std::optional<Error> fill_shared(const VmaFields&, Address, const Fillment&, Frame*) noexcept;
  std::optional<Error> move_page(const PageMove&, Address to, Address from) noexcept;
  void mark_dirty(Frame frame) noexcept { FrameWord::mark_dirty(frames_.meta(frame).dirty); }
  Step serve_swapped(const FaultRequest&, LeafSlot, PageEntry seen) noexcept;  // swap_fault.cpp
  void page_out(Range, Reclaim&) noexcept;
  // Gives up what an entry that is no more had, under its table's lock.
  void drop_entry(PageEntry entry, FrameGather& gather, SlotGather& slots) noexcept {
    if (entry.has_counted_frame()) frames_.drop(entry.frame(), gather);
    if (entry.is_swap()) swap_->drop(entry.swap_slot(), slots);
  }
  // The end of that, without locks.
  void finish(FrameGather& gather, SlotGather& slots) noexcept {
    frames_.retire(gather);
    if (swap_ != nullptr) swap_->free(slots);
  }
  Step copy_on_write(const FaultRequest&, LeafSlot, PageEntry seen) noexcept;  // copy_on_write.cpp
  // Sets the entry if it still is what was seen, and if the request still holds.
  Step commit(const FaultRequest&, LeafSlot, PageEntry seen, PageEntry entry) noexcept;
  Frame alloc_page(const FaultRequest& fault, Fill fill) noexcept {
    const bool may_wait = fault.hold != FaultHold::speculation;
    return frames_.alloc(FrameUse::page, fill, may_wait ? Patience::wait : Patience::none);
  }
  static FaultStep no_frame(const FaultRequest& fault) noexcept {
    return fault.hold == FaultHold::speculation ? FaultStep::needs_mmap_lock
                                                : FaultStep::out_of_memory;
  }
  Step install_private(const FaultRequest&, LeafSlot, PageEntry seen, Frame made) noexcept;
  void discard_unused(Frame made) noexcept;
  enum class Marks : uint8_t { keep, drop };
  void zap_entries(Range, Marks) noexcept;
  Result<void> copy_leaf(SoftMmu& child, const LeafSpan& leaf) noexcept;
  bool zap_huge(HugeSlot, FrameGather& gather) noexcept;
  // For a walk: change(entry) of huge entries that lie wholly in the range; the others are split.
  template <class Change>
  auto change_huge(Range range, Change change) const noexcept {
    return [this, range, change](HugeSlot slot, Range whole) {
      if (!range.contains(whole)) {
        tables_.split(slot);
        return false;
      }
      const SpinGuard guard(slot.lock());
      const PageEntry entry = slot.peek();
      if (!entry.is_huge()) return false;
      const PageEntry changed = change(entry);
      if (changed != entry) slot.set(changed);
      return true;
    };
  }
  enum class Clock : uint8_t { asks, takes, leaves };
  bool stays_huge(Address, Frame, Clock) const noexcept;
  // `again`: it was split, or has changed, and is looked at again.
  enum class Carried : uint8_t { done, again, out_of_memory };
  Carried move_huge(HugeSlot from, Address to) noexcept;
  Carried share_huge(HugeSlot from, const VmaFields&, Address, SoftMmu& child) noexcept;

  FramePool& frames_;
  PageCaches& caches_;
  Swap* const swap_;
  Reclaim* const reclaim_;
  PageTable tables_;
  Notifiers notifiers_;
};

inline SoftMmu::Step SoftMmu::commit(const FaultRequest& fault, LeafSlot slot, PageEntry seen,
                                     PageEntry entry) noexcept {
  const SpinGuard guard(slot.lock());
  // Asked under this lock: a writer that takes it later, to zap or protect, finds the entry; one
  // that took it before has moved the sequence.
  if (!fault.validation.holds()) return FaultStep::needs_mmap_lock;
  if (slot.peek() != seen) return {};
  slot.set(entry);
  if (entry.allows(Right::write) && !entry.is_anon()) mark_dirty(entry.frame());
  return FaultStep::resolved;
}

}  // namespace pervma

// mmu.h: how mapping operations reach pages. One per space. src/fault implements it with page
// tables in software; the calls are made once per operation, never on the way from an address to
// its VMA.
//
// "quiet" below: nobody can install an entry in the range, because its VMAs are write-locked, or
// detached and unreachable. Every call may be made under the mmap lock for write; zap() and
// free_tables() also under read where said. None calls back into the space.
#pragma once

#include <cstdint>
#include <span>

#include "pervma/address.h"
#include "pervma/error.h"
#include "pervma/file.h"
#include "pervma/notifier.h"
#include "pervma/user_fault.h"
#include "pervma/vma_info.h"
#include "vm/huge_pages.h"
#include "vm/vma.h"

namespace pervma {

class Mmu {
 public:
  virtual ~Mmu() = default;

  // Removes every entry of the range, guard marks included, and gives up its frames; they are used
  // again only when no unlocked walker can still look at them. Needs: quiet, or any lock that keeps
  // the VMA (VMA read, mmap read): then a fault may bring a page back at once. Private copies are
  // lost.
  virtual void zap(Range) noexcept = 0;
  // The same, but guard marks stay (an advice does not end them). Needs: a lock that keeps the VMA.
  virtual void discard(Range) noexcept = 0;
  // The program does not need what its private pages hold, if it does not write them again: they
  // stay, until reclaim(). Needs: a lock that keeps the VMA.
  virtual void mark_freed(Range) noexcept = 0;
  // Takes away what may go: private pages that were marked freed and not written since, all of
  // droppable memory; and what the engine's store keeps, if it has one. The range is a part of the
  // VMA. Needs: a lock that keeps it.
  virtual void reclaim(const VmaFields& vma, Range) noexcept = 0;
  // Has the pages look as if they had not been used lately. Needs: a lock that keeps the VMA.
  virtual void age(Range) noexcept = 0;
  // Puts a guard mark in place of every page of the range: an access is refused there. Needs:
  // quiet. Error::nomem: a part may be marked.
  virtual Result<void> install_guards(Range) noexcept = 0;
  // Takes guard marks away, and nothing else. Needs: a lock that keeps the VMA.
  virtual void remove_guards(Range) noexcept = 0;
  // Frees the tables that serve only addresses in `limits` and meet `span`. Needs: no VMA reaches
  // into `limits` and none can until the call returns (mmap lock held, for read at least).
  virtual void free_tables(Range span, Range limits) noexcept = 0;
  // Takes rights away from existing entries so that none allows more than `flags` do; rights
  // that were added come with the next fault. Needs: quiet.
  virtual void protect(Range, VmaFlags flags) noexcept = 0;
  // Moves the entries of `from` to `to` (same length, not overlapping), allocating tables there.
  // Error::nomem: a part may have been moved; move(to.., from) of it back cannot fail. Needs: both
  // quiet.
  virtual Result<void> move(Range from, Address to) noexcept = 0;
  // Copies the entries of the VMA for a fork's child: private pages become shared until written, on
  // both sides write-protected; shared file pages need not be copied. Needs: quiet here, `child`
  // not visible to anyone. Error::nomem: the child's part is for the caller to zap.
  virtual Result<void> copy_to(Mmu& child, const VmaFields& vma) noexcept = 0;
  // One byte per page of the range, a part of the VMA: 1 when the page is there, in the tables or
  // in the object's cache. Needs: a lock that keeps the VMA.
  virtual void residency(const VmaFields& vma, Range range,
                         std::span<uint8_t> to) const noexcept = 0;
  // Takes from every page of the range the right to be written and the mark that it was. Needs:
  // quiet.
  virtual void clear_written(Range) noexcept = 0;
  // One byte per page: 1 when it was written since. Needs: a lock that keeps the VMAs.
  virtual void written(Range, std::span<uint8_t> to) const noexcept = 0;
  // Whether faults of the VMA may be told to the embedder, in these modes.
  virtual bool may_tell(const VmaFields&, UserFaultModes) const noexcept { return false; }
  // Takes every mark of UserFaults::write_protect() away. Needs: quiet.
  virtual void clear_user_protection(Range) noexcept {}
  // --- huge pages (collapse.h); an Mmu need have none ---
  // What the entries of 2 MiB of private memory are at the moment. Needs: a lock that keeps the
  // VMA.
  virtual CollapseProspect collapse_prospect(Range) const noexcept { return {}; }
  // Whether the page's entry names the store, at the moment. Needs nothing.
  virtual bool is_swapped(Address) const noexcept { return false; }
  // Memory for a huge page; may wait. And its end, when nothing became of it. Needs: no lock held.
  virtual HugeMemory alloc_huge() noexcept { return {}; }
  virtual void free_huge(HugeMemory) noexcept {}
  // Makes the pages of [start, start + 2 MiB), a part of the VMA, one page in the memory, if their
  // entries still allow it. Needs: quiet, and the lock of the VMA's mappers.
  virtual CollapseEnd collapse(const VmaFields&, Address, HugeMemory) noexcept {
    return CollapseEnd::unfit;
  }

  // Whom to tell of changes. Needs: all locks of the space (all_locks.h).
  virtual Result<void> add_notifier(PageNotifier&) noexcept = 0;
  virtual void remove_notifier(PageNotifier&) noexcept = 0;
  // Counts the entries of the range. Needs: a lock that keeps the VMA.
  virtual PageUse page_use(Range) const noexcept = 0;
  // What is wrong with the entries of the VMA, or null. Needs: the mmap lock for write.
  virtual const char* check(const VmaFields&) const noexcept { return nullptr; }
  // Makes pages of an object zero, for everybody who maps them; private copies stay. Error::nomem:
  // a part may be zero. Needs: a reference to the opening; waits for the object's read_page().
  virtual Result<void> punch_hole(OpenFile&, uint64_t first_page, PageCount) noexcept = 0;
  // Gives what was written through shared mappings to the object, which keeps it. Error::io: it
  // could not; what it has not got stays to be given. Needs: a reference to the opening; may wait.
  virtual Result<void> write_back(OpenFile&, uint64_t first_page, PageCount) noexcept = 0;
  // A new object of zero pages for a shared anonymous mapping.
  virtual Result<FileRef> create_shared_memory(uint64_t bytes) noexcept = 0;
};

}  // namespace pervma

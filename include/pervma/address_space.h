// address_space.h: one address space: a map of ranges (VMAs) with Linux's semantics, whose page
// faults do not take the map-wide lock. Made by Engine::create_space().
//
// Lock: every mapping operation takes the mmap lock for write unless it says otherwise, and waits
// for it; it also waits for the readers of the VMAs that it changes. Faults and loads take a VMA
// read lock, and the mmap lock for read only when that fails. Every wait for the mmap lock can be
// ended by the stop token (Error::intr); nothing has changed then. Any thread may call anything,
// but a thread that holds a VmaRead of a space may call nothing else of that space: it would wait
// for itself. No call throws, but for std::bad_alloc where text or a container is returned;
// Error::nomem means that nothing was changed, except where Linux itself leaves a part done
// (protect, advise, lock over a hole).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "pervma/address.h"
#include "pervma/design.h"
#include "pervma/error.h"
#include "pervma/fault.h"
#include "pervma/mapping.h"
#include "pervma/notifier.h"
#include "pervma/page_buffer.h"
#include "pervma/user_fault.h"
#include "pervma/vma_info.h"

namespace pervma {

class AddressSpace;

// How often the mmap lock was taken, and how long it was waited for. Successful trylocks and
// downgrades count as read acquisitions; failed trylocks count as nothing.
struct LockCounters {
  uint64_t read = 0;
  uint64_t write = 0;
  uint64_t wait_ns = 0;
};

// Holds one VMA for read: it keeps its bounds, rights and existence until this is destroyed, by the
// thread that made it. Move-only.
class VmaRead {
 public:
  VmaRead(VmaRead&& other) noexcept;
  VmaRead& operator=(VmaRead&&) = delete;
  ~VmaRead();

  VmaInfo info() const;

 private:
  friend class AddressSpace;
  VmaRead(const AddressSpace& space, void* vma, uint64_t token) noexcept
      : space_(&space), vma_(vma), token_(token) {}

  const AddressSpace* space_;
  void* vma_;
  uint64_t token_;
};

class AddressSpace {
 public:
  virtual ~AddressSpace() = default;
  AddressSpace(const AddressSpace&) = delete;
  AddressSpace& operator=(const AddressSpace&) = delete;

  // --- Mapping operations; errors as the Linux system call of the same name ---------------------

  // mmap. Returns where the mapping begins.
  virtual Result<Address> map(const MapRequest&, const std::stop_token& = {}) = 0;
  // munmap. Pages are freed under the mmap lock downgraded to read.
  virtual Result<void> unmap(Address, uint64_t length, const std::stop_token& = {}) = 0;
  // mprotect.
  virtual Result<void> protect(Address, uint64_t length, Prot, const std::stop_token& = {}) = 0;
  // madvise. dontneed and free inside one VMA take only its read lock.
  virtual Result<void> advise(Address, uint64_t length, Advice, const std::stop_token& = {}) = 0;
  // mremap. Returns where the mapping begins afterwards.
  virtual Result<Address> remap(const RemapRequest&, const std::stop_token& = {}) = 0;
  // brk. Returns the new break, or the old one when it is refused; an address below the start asks.
  virtual Address brk(Address, const std::stop_token& = {}) = 0;

  // mlock, mlock2 and munlock: the range is rounded outwards to whole pages. Locking brings the
  // pages in afterwards, without the mmap lock held in between; Error::nomem then says that one of
  // them could not be had, and the range is locked all the same. (Locked here means: marked and
  // counted against SpaceOptions::memlock_limit.)
  virtual Result<void> lock(Address, uint64_t length, LockFlags = LockFlags::none,
                            const std::stop_token& = {}) = 0;
  virtual Result<void> unlock(Address, uint64_t length, const std::stop_token& = {}) = 0;
  // mlockall: what is mapped, what will be mapped, or both. munlockall ends both.
  virtual Result<void> lock_all(LockAllFlags, const std::stop_token& = {}) = 0;
  virtual Result<void> unlock_all(const std::stop_token& = {}) = 0;
  // mseal: the range can no longer be unmapped, moved, or have its rights changed.
  virtual Result<void> seal(Address, uint64_t length, const std::stop_token& = {}) = 0;
  // prctl(PR_SET_VMA_ANON_NAME): the name shows in to_maps() as [anon:NAME], and VMAs with other
  // names do not merge. Empty: no name. Names are kept until the engine ends. Error::inval under
  // AnonNames::refused, or for a name that Linux refuses.
  virtual Result<void> set_name(Address, uint64_t length, std::string_view name,
                                const std::stop_token& = {}) = 0;
  // msync: stores go to the object's cached pages at once; SyncFlags::sync also has the object keep
  // those of the range that may have been written (BackingObject::write_page), waiting for it
  // without any lock. Error::io when it fails; Error::nomem over a hole, Error::busy for
  // SyncFlags::invalidate on locked memory. Takes the mmap lock for read.
  virtual Result<void> sync(Address, uint64_t length, SyncFlags, const std::stop_token& = {}) = 0;
  // mincore: one byte per page of the range, 1 when the page is there. Error::nomem at a hole, with
  // the pages before it told; Error::inval when `to` is too short. Takes the mmap lock for read.
  virtual Result<void> residency(Address, uint64_t length, std::span<uint8_t> to,
                                 const std::stop_token& = {}) const = 0;

  // Where the heap begins (and ends, being empty): to be said before the first brk().
  virtual void set_brk_start(Address) = 0;
  // A mapping that the system makes by itself, with a name of its own in to_maps() ([vdso]); the
  // string must outlive the space.
  virtual Result<void> map_special(Range, Prot, const char* name) = 0;
  // What a process's end does: pages go under the mmap lock for read, then every VMA under write.
  // Other threads may be in calls: those that come too late find nothing mapped. The counters stay
  // readable; the destructor does it, again if need be.
  virtual void exit() noexcept = 0;
  // Says that the mapping at this address is the main stack, for to_maps().
  virtual void set_stack(Address) = 0;

  // --- Faults and data --------------------------------------------------------------------------

  // Serves one page fault, as the hardware would report it. Waits only on the slow path.
  virtual FaultOutcome handle_fault(Address, Access, FaultOrigin = FaultOrigin::user,
                                    const std::stop_token& = {}) = 0;
  // What the program's own loads and stores do: through the page tables, faulting as a user. May
  // cross pages.
  virtual FaultOutcome load(Address, std::span<std::byte> to, const std::stop_token& = {}) = 0;
  virtual FaultOutcome store(Address, std::span<const std::byte> from,
                             const std::stop_token& = {}) = 0;
  // Copies on the program's behalf (a system call's buffers): faults count as kernel faults.
  // Error::fault when a page cannot be had; the part before it is copied.
  virtual Result<void> copy_out(Address, std::span<std::byte> to, const std::stop_token& = {}) = 0;
  virtual Result<void> copy_in(Address, std::span<const std::byte> from,
                               const std::stop_token& = {}) = 0;

  // Puts pages of the engine's (Engine::alloc_page) into private anonymous memory, in place of what
  // is there, and empties the buffers: under the read lock of the one VMA that holds the range, or
  // the mmap lock for read where that cannot be had. advise(dontneed) takes them out again.
  // Error::fault: not one such VMA, or a guard page, and then the pages before it are in;
  // Error::inval: another engine's or an empty buffer.
  virtual Result<void> insert_pages(Address, std::span<PageBuffer>,
                                    const std::stop_token& = {}) = 0;

  // For faults that the embedder serves himself: user_fault.h. Error::nomem: no memory, or
  // 4095 of them in this process already.
  virtual Result<std::unique_ptr<UserFaults>> create_user_faults(const UserFaultOptions& = {}) = 0;

  // Where the page's bytes are at this moment, if its entry allows the access: for those who keep
  // translations by the rules of PageNotifier, and good only as long as those say.
  virtual std::byte* translate(Address, Access) const noexcept = 0;
  // Begins and ends telling somebody of changes. Both take everything of the space (all VMA write
  // locks too): afterwards no change is under way that was told half. Error::intr, Error::nomem: he
  // is not told anything.
  virtual Result<void> add_notifier(PageNotifier&, const std::stop_token& = {}) = 0;
  virtual void remove_notifier(PageNotifier&) = 0;

  // Which pages were written since clear_written(), one byte each; a page that was since dropped,
  // or never there, was not. clear_written() write-locks each VMA of the range in turn; written()
  // takes the mmap lock for read.
  virtual Result<void> clear_written(Address, uint64_t length, const std::stop_token& = {}) = 0;
  virtual Result<void> written(Address, uint64_t length, std::span<uint8_t> to,
                               const std::stop_token& = {}) const = 0;

  // --- Looking ----------------------------------------------------------------------------------

  // Pins the VMA at the address without the mmap lock; nothing when there is none, or when a writer
  // is in the way (contended VMAs are not waited for), and always nothing under the designs that
  // lock no VMAs for read (mmap_lock, speculative). Wait-free but for the tree walk.
  std::optional<VmaRead> try_read_vma(Address) const;
  // All VMAs in order, under the mmap lock for read.
  virtual std::vector<VmaInfo> vmas() const = 0;
  // Those that meet the range.
  virtual std::vector<VmaInfo> vmas_in(Range) const = 0;
  // Shows those that meet the range, in order, under the mmap lock for read. Allocates nothing.
  virtual void for_each_vma(Range, VmaVisitor&) const = 0;
  // The VMA at the address, under the mmap lock for read.
  virtual std::optional<VmaInfo> find_vma(Address) const = 0;
  // The text of /proc/PID/maps, and a count of what is mapped and there. Both go from VMA to VMA
  // without the mmap lock, which only a writer in the way makes them take for a moment: each VMA is
  // told as it was at one moment, and none that was there all the time is missed.
  virtual std::string to_maps() const = 0;
  virtual SpaceStatistics statistics() const = 0;
  virtual uint64_t map_count() const = 0;
  // What RLIMIT_AS counts, and RLIMIT_MEMLOCK.
  virtual PageCount mapped_pages() const = 0;
  virtual PageCount locked_pages() const = 0;

  virtual Design design() const noexcept = 0;
  virtual FaultCounters fault_counters() const noexcept = 0;
  virtual LockCounters lock_counters() const noexcept = 0;

  // Checks every structure under the mmap lock for write; empty when all is well, else what is
  // wrong.
  virtual std::string check() const = 0;

 protected:
  AddressSpace() = default;

  friend class VmaRead;
  struct PinnedVma {
    void* vma;
    uint64_t token;
  };
  virtual std::optional<PinnedVma> pin_vma(Address) const = 0;
  virtual void unpin_vma(void* vma, uint64_t token) const noexcept = 0;
  virtual VmaInfo pinned_info(void* vma) const = 0;
};

}  // namespace pervma

// user_fault.h: faults that the embedder serves himself, as a userfaultfd does: he registers ranges
// of a space, is told of each fault there, brings the page in his own way and wakes who waits.
//
// A fault is told under no lock of the space, by the thread that met it, which then waits until the
// range is woken, its own stop token is stopped, or the registration ends. Every wait can be ended
// so: nothing depends on the embedder's good behaviour.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>

#include "pervma/address.h"
#include "pervma/error.h"
#include "pervma/fault.h"

namespace pervma {

// Which faults of a range are told: a set, with the values of UFFDIO_REGISTER_MODE_*.
enum class UserFaultModes : uint32_t {
  none = 0,
  missing = 1,        // there is no page
  write_protect = 2,  // a store to a page that UserFaults::write_protect() closed
  minor = 4,          // the object has the page, this mapping does not show it
};
constexpr UserFaultModes operator|(UserFaultModes a, UserFaultModes b) noexcept {
  return UserFaultModes(static_cast<uint32_t>(a) | static_cast<uint32_t>(b));
}
constexpr bool includes(UserFaultModes all, UserFaultModes some) noexcept {
  return (static_cast<uint32_t>(all) & static_cast<uint32_t>(some)) == static_cast<uint32_t>(some);
}

struct UserFault {
  Address address;  // of the page
  Access access;
  UserFaultModes kind;  // exactly one
};

// What a handler says of a fault that it was told.
enum class UserFaultAnswer : uint8_t {
  look_again,  // the page is there, or need not be: the access is tried once more
  wait,        // somebody will wake the range; the fault can be had by UserFaults::next()
  bus_error,   // there will be no page
};

class UserFaultHandler {
 public:
  // Called by the thread that met the fault, under no lock of the space; several threads may be in
  // it at once, for one page too. May call anything but the destructor of its own UserFaults. May
  // wait, best until `stop`, which is the fault's. An exception, an answer that is none of the
  // above, or a thousand times `look_again` for one access that finds nothing, is a bus error.
  virtual UserFaultAnswer fault(const UserFault&, const std::stop_token& stop) = 0;

 protected:
  ~UserFaultHandler() = default;
};

struct UserFaultOptions {
  // Null: every fault waits, and is had by next().
  UserFaultHandler* handler = nullptr;
  // write_protect() also closes anonymous pages that are not there yet
  // (UFFD_FEATURE_WP_UNPOPULATED; those of shared memory it always closes).
  bool protect_unpopulated = false;
};

// Options of an operation: sets, with the values of UFFDIO_*_MODE_*. Unknown bits: Error::inval.
enum class UserFillFlags : uint32_t { none = 0, dont_wake = 1, write_protect = 2 };
enum class UserMoveFlags : uint32_t { none = 0, dont_wake = 1, allow_source_holes = 2 };
enum class UserProtectFlags : uint32_t { none = 0, write_protect = 1, dont_wake = 2 };
constexpr UserFillFlags operator|(UserFillFlags a, UserFillFlags b) noexcept {
  return UserFillFlags(static_cast<uint32_t>(a) | static_cast<uint32_t>(b));
}
constexpr UserMoveFlags operator|(UserMoveFlags a, UserMoveFlags b) noexcept {
  return UserMoveFlags(static_cast<uint32_t>(a) | static_cast<uint32_t>(b));
}

// What an operation on several pages did. After Error::again `bytes` say how many were done before
// it met what stopped it: the caller goes on behind them. After any other error nothing was done.
struct UserFaultDone {
  uint64_t bytes = 0;
  std::optional<Error> error{};
};

struct UserFaultCounters {
  uint64_t told = 0;         // faults that were told, or queued for next()
  uint64_t threw = 0;        // calls of the handler that threw
  uint64_t nonsense = 0;     // answers that were none
  uint64_t interrupted = 0;  // faults whose stop token ended the wait
};

// One embedder's registrations in one space: what a userfaultfd is to its process. Made by
// AddressSpace::create_user_faults(). Any thread may call anything; errors are those of Linux's
// ioctls. It ends before its space; the end unregisters everything, wakes everybody, and waits for
// calls of the handler that are under way.
//
// The operations on pages take the read lock of the VMA, or the mmap lock for read where that
// cannot be had: they run beside faults and beside each other. Each reaches into one VMA.
class UserFaults {
 public:
  virtual ~UserFaults() = default;
  UserFaults(const UserFaults&) = delete;
  UserFaults& operator=(const UserFaults&) = delete;

  // UFFDIO_REGISTER. Anonymous private memory (missing, write_protect) and shared mappings of
  // objects in memory, shared anonymous memory among them (all three). The modes replace earlier
  // ones, except that a part which has them all keeps what it has; pages that were closed stay so,
  // for when the mode comes back. Holes are passed over. Takes the
  // mmap lock for write, and waits for the readers of each VMA. Error::inval: nothing mapped there,
  // memory of another kind, bad bounds; Error::perm: may never be written; Error::busy: another
  // UserFaults has a part; Error::nomem: too many VMAs or no memory, and a part may be registered.
  virtual Result<void> register_range(Address, uint64_t length, UserFaultModes,
                                      const std::stop_token& = {}) = 0;
  // UFFDIO_UNREGISTER. Who waits there looks again. Error::inval: nothing there, or another's.
  virtual Result<void> unregister_range(Address, uint64_t length, const std::stop_token& = {}) = 0;

  // The fault that has waited longest and was not had yet; waits for one. Nothing: a stop was
  // requested.
  virtual std::optional<UserFault> next(const std::stop_token& = {}) = 0;
  // Never waits.
  virtual std::optional<UserFault> try_next() = 0;
  // UFFDIO_WAKE: who waits for a page of the range looks again.
  virtual Result<void> wake(Address, uint64_t length) = 0;

  // UFFDIO_COPY: fills pages that are not there (in shared memory: for everybody who maps it).
  // Error::noent: no VMA that is registered and holds the range; Error::exist: a page is there
  // (a guard is none: the page takes its place); Error::fault: beyond the object's end;
  // Error::inval: bounds, or write_protect where that mode is not; Error::nomem; Error::intr;
  // Error::srch: the space has exited.
  virtual UserFaultDone copy(Address to, std::span<const std::byte> from,
                             UserFillFlags = UserFillFlags::none, const std::stop_token& = {}) = 0;
  // UFFDIO_ZEROPAGE. Errors as copy(); in private memory guards and closed pages are Error::exist.
  virtual UserFaultDone zero_pages(Address, uint64_t length, UserFillFlags = UserFillFlags::none,
                                   const std::stop_token& = {}) = 0;
  // UFFDIO_CONTINUE: shows the pages that the object has. Errors as copy(), and Error::fault: the
  // object has no such page; beyond its end Error::inval.
  virtual UserFaultDone map_cached(Address, uint64_t length, UserFillFlags = UserFillFlags::none,
                                   const std::stop_token& = {}) = 0;
  // UFFDIO_MOVE: takes private anonymous pages to where none are, without a copy. Both places are
  // of this space, each in one VMA; the destination's is registered here. Error::inval: the VMAs
  // are of different kinds; Error::exist: a page is there; Error::noent: no VMA, or a source page
  // is missing and holes are not allowed; Error::busy: a page that others show too (after a fork),
  // or on its way to the store.
  virtual UserFaultDone move(Address to, Address from, uint64_t length,
                             UserMoveFlags = UserMoveFlags::none, const std::stop_token& = {}) = 0;
  // UFFDIO_WRITEPROTECT: closes the pages of the range to stores, or opens them. May reach over
  // several VMAs, then under the mmap lock for read. Error::noent: a part is not registered for it.
  virtual Result<void> write_protect(Address, uint64_t length,
                                     UserProtectFlags = UserProtectFlags::write_protect,
                                     const std::stop_token& = {}) = 0;

  virtual UserFaultCounters counters() const noexcept = 0;

 protected:
  UserFaults() = default;
};

}  // namespace pervma

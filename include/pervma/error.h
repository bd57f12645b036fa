// error.h: how pervma reports failure. Every fallible call returns a Result; an Error has the
// number that Linux's system call of the same name would put into errno. Nothing throws but what
// returns text or a container, or makes an object of the caller's (std::bad_alloc).
#pragma once

#include <cerrno>
#include <expected>
#include <string_view>

namespace pervma {

enum class Error : int {
  perm = EPERM,  // sealed, or not permitted to lock memory
  noent = ENOENT,
  srch = ESRCH,  // the space has exited (user faults)
  intr = EINTR,  // a stop was requested while waiting for a lock
  io = EIO,      // a backing object could not read or write a page
  badf = EBADF,
  again = EAGAIN,  // a memory-lock limit, or a failed split in an advice
  nomem = ENOMEM,  // no memory, no room in the space, too many VMAs, or a hole
  acces = EACCES,  // more rights than the mapping may ever have
  fault = EFAULT,  // an address that is not mapped (mremap, copies)
  busy = EBUSY,
  exist = EEXIST,  // MapFlags::fixed_noreplace over a mapping
  nodev = ENODEV,
  inval = EINVAL,          // a misaligned, empty or contradictory request
  fbig = EFBIG,            // a hole beyond where a file can end
  overflow = EOVERFLOW,    // the page offset passes 2^64
  opnotsupp = EOPNOTSUPP,  // a flag that MapFlags::shared_validate refuses
  deadlk = EDEADLK,
};

template <class T>
using Result = std::expected<T, Error>;

// The name of the errno, "ENOMEM"; never null.
std::string_view error_name(Error) noexcept;

}  // namespace pervma

#include "pervma/error.h"

namespace pervma {

std::string_view error_name(Error error) noexcept {
  switch (error) {
    case Error::perm: return "EPERM";
    case Error::noent: return "ENOENT";
    case Error::srch: return "ESRCH";
    case Error::intr: return "EINTR";
    case Error::io: return "EIO";
    case Error::badf: return "EBADF";
    case Error::again: return "EAGAIN";
    case Error::nomem: return "ENOMEM";
    case Error::acces: return "EACCES";
    case Error::fault: return "EFAULT";
    case Error::busy: return "EBUSY";
    case Error::exist: return "EEXIST";
    case Error::nodev: return "ENODEV";
    case Error::inval: return "EINVAL";
    case Error::fbig: return "EFBIG";
    case Error::overflow: return "EOVERFLOW";
    case Error::opnotsupp: return "EOPNOTSUPP";
    case Error::deadlk: return "EDEADLK";
  }
  return "unknown error";
}

}  // namespace pervma

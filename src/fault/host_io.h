// host_io.h: whole transfers between pages and files of the host.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <cstddef>

#include "pervma/error.h"

namespace pervma {

// Calls transfer(done), a pread(2) or pwrite(2) of what is left, until all `bytes` are done or the
// file has no more. How many were done; Error::io when one fails.
template <class Transfer>
Result<std::size_t> transfer_all(std::size_t bytes, Transfer transfer) noexcept {
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t n = transfer(done);
    if (n > 0) {
      done += static_cast<std::size_t>(n);
    } else if (n == 0) {
      break;
    } else if (errno != EINTR) {
      return std::unexpected(Error::io);
    }
  }
  return done;
}

}  // namespace pervma

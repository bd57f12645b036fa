// c_common.h: what the bodies of the C functions share.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <stop_token>
#include <string>

#include "pervma/c.h"
#include "pervma/error.h"

struct pervma_stop {
  std::stop_source source;
};

namespace pervma::capi {

// What this thread's waits are to be ended by; null: nothing.
inline constinit thread_local const pervma_stop* t_stop = nullptr;

[[nodiscard]] inline std::stop_token current_stop() noexcept {
  return t_stop != nullptr ? t_stop->source.get_token() : std::stop_token{};
}

// A caller's struct of an older or newer version: what it has of ours, and zeros for the rest. The
// first field of both is the size. False: it is smaller than the first version was.
template <class T>
[[nodiscard]] bool read_sized(const T* from, T& to) noexcept {
  to = {};
  if (from == nullptr) return true;
  if (from->size < 2 * sizeof(uint32_t)) return false;
  const size_t bytes = std::min(sizeof(T), size_t{from->size});
  std::memcpy(static_cast<void*>(&to), static_cast<const void*>(from), bytes);
  return true;
}

// No exception passes into C. Only memory can fail in what calls this.
template <class Work>
int guarded(Work&& work) noexcept {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
}

template <class T>
int error_of(const Result<T>& result) noexcept {
  return result ? 0 : static_cast<int>(result.error());
}

}  // namespace pervma::capi

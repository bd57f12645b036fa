// frame_bytes.h: copying from and to frames that other threads load from and store to at the same
// time, as processors do. Bytes in a frame are touched by relaxed atomics, whole aligned words
// where possible: an aligned access of 1, 2, 4 or 8 bytes is never torn.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "pervma/address.h"

namespace pervma {

namespace detail {

inline std::size_t word_size_at(const std::byte* frame, std::size_t left) noexcept {
  const auto at = reinterpret_cast<uintptr_t>(frame);
  if ((at & 7) == 0 && left >= 8) return 8;
  if ((at & 3) == 0 && left >= 4) return 4;
  if ((at & 1) == 0 && left >= 2) return 2;
  return 1;
}

template <class Word>
inline void load_word(std::byte* to, const std::byte* frame) noexcept {
  auto* word = reinterpret_cast<Word*>(const_cast<std::byte*>(frame));
  const Word value = std::atomic_ref<Word>(*word).load(std::memory_order_relaxed);
  std::memcpy(to, &value, sizeof value);
}

template <class Word>
inline void store_word(std::byte* frame, const std::byte* from) noexcept {
  Word value;
  std::memcpy(&value, from, sizeof value);
  std::atomic_ref<Word>(*reinterpret_cast<Word*>(frame)).store(value, std::memory_order_relaxed);
}

}  // namespace detail

inline void load_from_frame(std::span<std::byte> to, const std::byte* frame) noexcept {
  for (std::size_t done = 0; done < to.size();) {
    const std::size_t size = detail::word_size_at(frame + done, to.size() - done);
    switch (size) {
      case 8: detail::load_word<uint64_t>(&to[done], frame + done); break;
      case 4: detail::load_word<uint32_t>(&to[done], frame + done); break;
      case 2: detail::load_word<uint16_t>(&to[done], frame + done); break;
      default: detail::load_word<uint8_t>(&to[done], frame + done); break;
    }
    done += size;
  }
}

inline void store_to_frame(std::byte* frame, std::span<const std::byte> from) noexcept {
  for (std::size_t done = 0; done < from.size();) {
    const std::size_t size = detail::word_size_at(frame + done, from.size() - done);
    switch (size) {
      case 8: detail::store_word<uint64_t>(frame + done, &from[done]); break;
      case 4: detail::store_word<uint32_t>(frame + done, &from[done]); break;
      case 2: detail::store_word<uint16_t>(frame + done, &from[done]); break;
      default: detail::store_word<uint8_t>(frame + done, &from[done]); break;
    }
    done += size;
  }
}

// To a frame that nobody else sees yet.
inline void copy_frame(std::span<std::byte, kPageSize> to, const std::byte* frame) noexcept {
  for (std::size_t done = 0; done < kPageSize; done += 8) {
    detail::load_word<uint64_t>(to.data() + done, frame + done);
  }
}

}  // namespace pervma

// range_value.h: how a RangeMap keeps a value of a type that its core does not know.
//
//   words    trivially copyable, up to 64 bytes: atomic words, so that it can be copied without a
//            lock beside a writer
//   inline   another movable type up to 64 bytes, aligned to 8: an object in the range itself
//   boxed    anything else: an object of its own
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "pervma/detail/range_core.h"

namespace pervma::detail {

template <class Value>
struct RangeValue {
  static_assert(std::is_nothrow_move_constructible_v<Value> &&
                    std::is_nothrow_destructible_v<Value>,
                "a value moves and ends without throwing");

  // The value may be a pointer: meant is its own size. NOLINTNEXTLINE(bugprone-sizeof-expression)
  static constexpr size_t kBytes = sizeof(Value);
  static constexpr bool kFits = kBytes <= kRangeMaxWords * sizeof(uint64_t);
  static constexpr bool kWords = std::is_trivially_copyable_v<Value> && kFits;
  static constexpr bool kInline = !kWords && kFits && alignof(Value) <= alignof(uint64_t);
  static constexpr uint32_t kCount =
      kWords || kInline ? static_cast<uint32_t>((kBytes + 7) / 8) : 1;

  // What a reader is given: a copy of a value in words, else a reference.
  using View = std::conditional_t<kWords, Value, const Value&>;

  static Value from_words(const uint64_t* words) noexcept
    requires kWords
  {
    struct Bytes {
      std::byte byte[kBytes];
    } bytes;
    std::memcpy(&bytes, words, sizeof bytes);
    return std::bit_cast<Value>(bytes);
  }

  // Into empty storage. False: no memory, and the value is still the caller's.
  [[nodiscard]] static bool put(void* storage, Value& value) noexcept {
    if constexpr (kWords) {
      uint64_t words[kCount] = {};
      std::memcpy(words, static_cast<const void*>(std::addressof(value)), kBytes);
      for (uint32_t i = 0; i < kCount; ++i) set_range_word(storage, i, words[i]);
    } else if constexpr (kInline) {
      ::new (storage) Value(std::move(value));
    } else {
      auto* const box = new (std::nothrow) Value(std::move(value));
      if (box == nullptr) return false;
      ::new (storage) Value*(box);
    }
    return true;
  }

  static View get(const void* storage) noexcept {
    if constexpr (kWords) {
      uint64_t words[kCount];
      for (uint32_t i = 0; i < kCount; ++i) words[i] = range_word(storage, i);
      return from_words(words);
    } else {
      return object(const_cast<void*>(storage));
    }
  }

  // For the writer: the object itself.
  static Value& object(void* storage) noexcept
    requires(!kWords)
  {
    if constexpr (kInline) {
      return *std::launder(static_cast<Value*>(storage));
    } else {
      return **std::launder(static_cast<Value**>(storage));
    }
  }

  // Leaves empty storage.
  static Value take(void* storage) noexcept {
    if constexpr (kWords) {
      return get(storage);
    } else {
      Value value(std::move(object(storage)));
      destroy(storage);
      return value;
    }
  }

  static void destroy(void* storage) noexcept {
    if constexpr (kInline) {
      object(storage).~Value();
    } else if constexpr (!kWords) {
      delete &object(storage);
    }
  }
};

}  // namespace pervma::detail

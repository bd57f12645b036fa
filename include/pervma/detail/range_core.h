// range_core.h: what pervma::RangeMap is made of, without the type of its values; the library holds
// the bodies. Nothing here is for direct use: include pervma/range_map.h.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>

#include "pervma/address.h"

namespace pervma {

// Sums over a map at one moment.
struct RangeMapStats {
  size_t ranges = 0;   // in the map
  size_t retired = 0;  // out of it, and still held by a guard
  size_t bytes = 0;    // of memory, from the system's point of view
};

// Which of several gaps.
enum class GapSide : uint8_t { lowest, highest };

namespace detail {

// A range as the core knows it; its value's storage follows the head.
struct RangeHandle;
inline constexpr size_t kRangeHeadBytes = 40;
inline constexpr uint32_t kRangeMaxWords = 8;

inline void* range_storage(RangeHandle* range) noexcept {
  return reinterpret_cast<char*>(range) + kRangeHeadBytes;
}
inline const void* range_storage(const RangeHandle* range) noexcept {
  return reinterpret_cast<const char*>(range) + kRangeHeadBytes;
}
// A value kept as words: copies are made of it without a lock, so each access is atomic.
inline uint64_t range_word(const void* storage, uint32_t i) noexcept {
  return static_cast<const std::atomic<uint64_t>*>(storage)[i].load(std::memory_order_relaxed);
}
inline void set_range_word(void* storage, uint32_t i, uint64_t word) noexcept {
  static_cast<std::atomic<uint64_t>*>(storage)[i].store(word, std::memory_order_relaxed);
}

// What the core has done with values whose type it does not know.
struct RangeValueOps {
  uint32_t words;                                          // of storage; 1 .. kRangeMaxWords
  void (*destroy)(void* context, void* storage) noexcept;  // null: nothing to do
  bool (*may_merge)(const void* rule, Range left, const void* left_storage, Range right,
                    const void* right_storage) noexcept;  // null: never
  const void* rule;
  void (*retired)(void* context, Range range, void* storage) noexcept;  // null: no hook
  void* context;
};

// A range, or why there is none. With `contended` nothing was waited for.
struct RangePin {
  RangeHandle* range;
  int error;  // 0 or an errno
};

class RangeCore {
 public:
  // Null: no memory. `hook` answers true to make an allocation fail (tests).
  static RangeCore* create(const RangeValueOps& ops, bool (*hook)(void*), void* context) noexcept;
  static void destroy(RangeCore* core) noexcept;
  RangeCore(const RangeCore&) = delete;
  RangeCore& operator=(const RangeCore&) = delete;

  // --- readers; errors: ENOENT, EDEADLK, EINTR, ENOMEM (guards of too many maps) ---
  RangePin find(uint64_t address, const std::stop_token& stop) noexcept;
  RangePin find_next(uint64_t from, uint64_t end, const std::stop_token& stop) noexcept;
  RangePin try_find(uint64_t address) noexcept;  // EAGAIN: contended
  // To `to`: the first index, the last index, the words of the value.
  int copy(uint64_t address, uint64_t* to, const std::stop_token& stop) noexcept;
  int try_copy(uint64_t address, uint64_t* to) noexcept;
  void unpin(RangeHandle* range) noexcept;      // by the thread that pinned it
  void hand_over(RangeHandle* range) noexcept;  // from now on any thread may drop() it
  void drop(RangeHandle* range) noexcept;
  static Range bounds(const RangeHandle* range) noexcept;
  int find_gap(Range window, uint64_t bytes, GapSide side, const std::stop_token& stop,
               uint64_t* at) noexcept;
  RangeMapStats stats() const noexcept;
  std::string check();

  // --- the writer: between begin_write() and end_write(), on one thread ---
  int begin_write(const std::stop_token& stop) noexcept;  // EDEADLK, EINTR
  void end_write() noexcept;
  [[nodiscard]] bool writes_here() const noexcept;  // this thread is in a section
  // A private range for a value that is put into its storage next; null: no memory.
  RangeHandle* make() noexcept;
  // Its storage is empty again.
  void unmake(RangeHandle* range) noexcept;
  // A range that was made, with its value: both end as if erased.
  void discard(RangeHandle* range) noexcept;
  // EINVAL, EEXIST, ENOMEM, EINTR: nothing changed, and the range is still the caller's.
  int insert(RangeHandle* range, Range where, const std::stop_token& stop) noexcept;
  int place(RangeHandle* range, Range where) noexcept;  // the same without a merge
  int split(uint64_t at, RangeHandle* right, const std::stop_token& stop) noexcept;
  int merge(uint64_t at, const std::stop_token& stop) noexcept;
  // Write-locks the range at the address, so that its value may be changed.
  RangePin open(uint64_t address, const std::stop_token& stop) noexcept;
  // After a change: joins the range with its neighbours where the rule and the memory allow it.
  void settle(RangeHandle* range, const std::stop_token& stop) noexcept;
  // The ranges that meet `where`; EINVAL, ENOMEM, EINTR: nothing changed.
  int erase(Range where, const std::stop_token& stop, size_t* count) noexcept;
  int retire(Range where, size_t* count) noexcept;
  // --- many at once: made ranges, linked in their order, where nothing is ---
  [[nodiscard]] bool loads_at_once(size_t n) const noexcept;  // load() is the way to do it
  static RangeHandle* next_made(RangeHandle* range) noexcept;
  static void set_next_made(RangeHandle* range, RangeHandle* next) noexcept;
  // `where(context, i)`: of the ith. ENOMEM: nothing changed, and all are still the caller's.
  int load(RangeHandle* first, size_t n, Range (*where)(const void* context, size_t i) noexcept,
           const void* context) noexcept;
  // Makes the next inserts, splits and erasures infallible as far as memory goes.
  [[nodiscard]] bool reserve(size_t ranges) noexcept;
  // The first range that ends behind `from` and begins before `end`, or null.
  RangeHandle* next(uint64_t from, uint64_t end) noexcept;
  RangeHandle* at(uint64_t address) noexcept;
  std::optional<uint64_t> gap(Range window, uint64_t bytes, GapSide side) noexcept;

 protected:
  RangeCore() = default;
  ~RangeCore() = default;
};

}  // namespace detail
}  // namespace pervma

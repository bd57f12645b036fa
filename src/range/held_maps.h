// held_maps.h: of which RangeMaps this thread holds guards, or a writer section, in every build.
//
// A thread that holds a guard of a map and waits for that map's lock waits for itself as soon as a
// writer wants the guard's range. So what may wait asks here first, and answers EDEADLK.
// One table per thread, touched by its own thread only. A map leaves it with its last guard.
#pragma once

#include <array>
#include <cstdint>

namespace pervma {

class HeldMaps {
 public:
  // Of more maps at once than this a thread cannot hold guards.
  static constexpr uint32_t kMaps = 64;

  struct Entry {
    const void* map;
    uint32_t guards;
    bool writes;
  };

  // --- each of these is a few instructions when the thread holds nothing, or one guard ---

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  // Of a table that is empty.
  void add_first_guard(const void* map) noexcept {
    entries_[0] = {map, 1, false};
    size_ = 1;
  }
  [[nodiscard]] bool holds(const void* map) const noexcept {
    return size_ != 0 && find(map) != size_;
  }
  [[nodiscard]] bool writes(const void* map) const noexcept {
    const uint32_t i = find(map);
    return i != size_ && entries_[i].writes;
  }
  // Whether a guard of this map can be noted.
  [[nodiscard]] bool has_room(const void* map) const noexcept {
    return size_ != kMaps || find(map) != size_;
  }
  void add_guard(const void* map) noexcept {
    const uint32_t i = size_ == 0 ? 0 : find(map);
    if (i == size_) entries_[size_++] = {map, 0, false};
    ++entries_[i].guards;
  }
  // False: this thread holds no guard of the map.
  [[nodiscard]] bool remove_guard(const void* map) noexcept {
    if (size_ == 1 && entries_[0].map == map && entries_[0].guards == 1 && !entries_[0].writes) {
      size_ = 0;
      return true;
    }
    const uint32_t i = find(map);
    if (i == size_ || entries_[i].guards == 0) return false;
    if (--entries_[i].guards == 0 && !entries_[i].writes) entries_[i] = entries_[--size_];
    return true;
  }
  // Not while it holds anything of the map.
  void begin_write(const void* map) noexcept { entries_[size_++] = {map, 0, true}; }
  // False: this thread has no writer section of the map.
  [[nodiscard]] bool end_write(const void* map) noexcept {
    const uint32_t i = find(map);
    if (i == size_ || !entries_[i].writes) return false;
    entries_[i] = entries_[--size_];
    return true;
  }

 private:
  uint32_t find(const void* map) const noexcept {
    uint32_t i = 0;
    while (i < size_ && entries_[i].map != map) ++i;
    return i;
  }

  uint32_t size_ = 0;
  std::array<Entry, kMaps> entries_{};
};

// constinit spares the wrapper that initialises a thread's variable at each use.
inline constinit thread_local HeldMaps t_held_maps;

}  // namespace pervma

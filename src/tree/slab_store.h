// slab_store.h: cells of one size, cut from slabs that come from the system and go back to it.
//
// A slab is empty, partial or full; allocation takes from partial slabs first, so that others can
// empty. A cell is constructed when it is first handed out and stays constructed until its slab
// goes. A slab starts at a multiple of kSlabAlign, so a cell's address tells its slab. Small slabs
// first; once a store is big, slabs of 2 MiB on huge pages, which spare a walk over it the TLB
// misses.
//
// Not thread-safe, and no policy of when a slab may go back: the owner brings both.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sync/assert.h"
#include "sync/rcu.h"

namespace pervma {

namespace detail {
// `bytes` of zeroed pages at a multiple of `align`, or null.
void* slab_map(size_t bytes, size_t align) noexcept;
void slab_unmap(void* slab, size_t bytes) noexcept;
}  // namespace detail

// What heads every slab.
struct SlabHead {
  SlabHead* prev;
  SlabHead* next;
  void* free;       // cells handed out before and free now, linked
  uint32_t used;    // cells that are out
  uint32_t carved;  // cells ever handed out; the rest was never touched
  uint32_t cells;   // cells in all
  uint32_t bytes;   // of the slab
  void* owner;      // for whoever gives the slab back after a grace period
  rcu_head rcu;
};

// Cell: kBytes, kAlign; kSpareBytes, what is kept in empty slabs; construct(void*), destroy(void*),
// next(void*) and set_next(void*, void*), a pointer that a free cell keeps.
template <class Cell>
class SlabStore {
 public:
  static constexpr size_t kSlabAlign = size_t{2} << 20;
  static constexpr size_t kSmallSlab = size_t{64} << 10;
  static constexpr size_t kBigSlab = kSlabAlign;
  static constexpr size_t kBigFrom = size_t{8} << 20;  // bytes in small slabs before big ones come

  SlabStore() noexcept = default;
  SlabStore(const SlabStore&) = delete;
  SlabStore& operator=(const SlabStore&) = delete;
  ~SlabStore() { PERVMA_ASSERT(slabs_ == 0); }

  // A cell, or null when the partial and empty slabs have none: then add_slab().
  void* take() noexcept {
    SlabHead* slab = partial_ != nullptr ? partial_ : empty_;
    if (slab == nullptr) [[unlikely]]
      return nullptr;
    if (slab->used == 0) {
      unlink(empty_, slab);
      empty_bytes_ -= slab->bytes;
      link(partial_, slab);
    }
    void* cell = slab->free;
    if (cell != nullptr) {
      slab->free = Cell::next(cell);
    } else {
      cell = cell_at(slab, slab->carved++);
      Cell::construct(cell);
    }
    ++live_;
    if (++slab->used == slab->cells) unlink(partial_, slab);
    return cell;
  }

  // False: the system has no memory.
  [[nodiscard]] bool add_slab(void* owner) noexcept {
    const size_t bytes = bytes_ < kBigFrom ? kSmallSlab : kBigSlab;
    void* memory = detail::slab_map(bytes, kSlabAlign);
    if (memory == nullptr) return false;
    auto* slab = static_cast<SlabHead*>(memory);  // zeroed: no free, used or carved cells
    slab->cells = static_cast<uint32_t>((bytes - kFirstCell) / Cell::kBytes);
    slab->bytes = static_cast<uint32_t>(bytes);
    slab->owner = owner;
    link(empty_, slab);
    empty_bytes_ += bytes;
    ++slabs_;
    bytes_ += bytes;
    return true;
  }

  // Takes the cell back. A slab that is empty beyond the spare ones leaves the store and is
  // returned; the caller passes it to give_back() when nobody looks at it any more.
  [[nodiscard]] SlabHead* put(void* cell) noexcept {
    SlabHead* slab = slab_of(cell);
    PERVMA_DASSERT_OP(slab->used, >, 0U);
    if (slab->used == slab->cells) link(partial_, slab);
    Cell::set_next(cell, slab->free);
    slab->free = cell;
    --live_;
    if (--slab->used != 0) return nullptr;
    unlink(partial_, slab);
    if (empty_bytes_ + slab->bytes > Cell::kSpareBytes) return forget(slab);
    link(empty_, slab);
    empty_bytes_ += slab->bytes;
    return nullptr;
  }

  // An empty slab to pass to give_back(), or null when there is none.
  [[nodiscard]] SlabHead* take_empty_slab() noexcept {
    SlabHead* slab = empty_;
    if (slab == nullptr) return nullptr;
    unlink(empty_, slab);
    empty_bytes_ -= slab->bytes;
    return forget(slab);
  }

  // Any thread; the slab belongs to no store any more.
  static void give_back(SlabHead* slab) noexcept {
    for (uint32_t i = 0; i < slab->carved; ++i) Cell::destroy(cell_at(slab, i));
    detail::slab_unmap(slab, slab->bytes);
  }

  size_t live() const noexcept { return live_; }
  size_t slabs() const noexcept { return slabs_; }
  size_t bytes() const noexcept { return bytes_; }

 private:
  static constexpr size_t kFirstCell = (sizeof(SlabHead) + Cell::kAlign - 1) & ~(Cell::kAlign - 1);

  static SlabHead* slab_of(void* cell) noexcept {
    return reinterpret_cast<SlabHead*>(reinterpret_cast<uintptr_t>(cell) & ~(kSlabAlign - 1));
  }
  static void* cell_at(SlabHead* slab, size_t i) noexcept {
    return reinterpret_cast<char*>(slab) + kFirstCell + i * Cell::kBytes;
  }
  static void link(SlabHead*& list, SlabHead* slab) noexcept {
    slab->prev = nullptr;
    slab->next = list;
    if (list != nullptr) list->prev = slab;
    list = slab;
  }
  static void unlink(SlabHead*& list, SlabHead* slab) noexcept {
    (slab->prev != nullptr ? slab->prev->next : list) = slab->next;
    if (slab->next != nullptr) slab->next->prev = slab->prev;
  }
  SlabHead* forget(SlabHead* slab) noexcept {
    --slabs_;
    bytes_ -= slab->bytes;
    return slab;
  }

  SlabHead* partial_ = nullptr;
  SlabHead* empty_ = nullptr;
  size_t empty_bytes_ = 0;
  size_t live_ = 0;
  size_t slabs_ = 0;
  size_t bytes_ = 0;
};

}  // namespace pervma

// slab_store.h: cells of one size, cut from slabs that come from the system and go back to it.
//
// A slab is empty, partial or full; allocation takes from partial slabs first, so that others can
// empty. A cell is constructed when it is first handed out and stays constructed until its slab
// goes. Slabs are pieces of chunks, which are reserved addresses: neighbours, so that a small store
// is a few pages in a row (slabs strewn over the addresses would compete for the same sets of the
// TLB), and a store maps no more than it has use for. A chunk whose slabs are all open is moved to
// huge pages. Once a store is big a slab is a whole chunk, on huge pages from the start. Slabs and
// chunks begin at multiples of their size, so a cell's address tells both.
//
// The first slabs of a store may be spread: each cell has a pair of lines to itself. A thread that
// writes to its cell then makes nobody wait who uses another, neither in the same line nor in the
// one that processors fetch along with it. The slabs after those are packed.
//
// Not thread-safe, and no policy of when a slab may go back: the owner brings both.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "sync/assert.h"
#include "sync/cpu.h"
#include "sync/rcu.h"

namespace pervma {

namespace detail {
// Addresses without memory, at a multiple of their size; null: the system has none.
void* chunk_reserve(size_t bytes) noexcept;
// Zeroed pages for a part that has none. False: the system has no memory.
[[nodiscard]] bool chunk_open(void* part, size_t bytes) noexcept;
// For a whole chunk: huge pages, where the system has them.
[[nodiscard]] bool chunk_open_huge(void* chunk, size_t bytes) noexcept;
// The pages go back, the addresses stay reserved.
void chunk_close(void* part, size_t bytes) noexcept;
void chunk_release(void* chunk, size_t bytes) noexcept;
// Puts what is there on huge pages, where the system has some. Takes about a millisecond.
void chunk_collapse(void* chunk, size_t bytes) noexcept;
}  // namespace detail

// What heads every slab. A chunk's own words are in the head of its first slab, whose first page
// stays for as long as the chunk.
struct SlabHead {
  SlabHead* prev;
  SlabHead* next;
  void* free;       // cells handed out before and free now, linked
  uint32_t used;    // cells that are out
  uint32_t carved;  // cells ever handed out; the rest was never touched
  uint32_t cells;   // cells in all
  uint32_t bytes;   // of the slab
  uint32_t stride;  // from a cell to the next
  void* owner;      // for whoever gives the slab back after a grace period
  rcu_head rcu;
  // --- the chunk's ---
  SlabHead* chunk_prev;  // of those with slabs to open
  SlabHead* chunk_next;
  uint32_t slab_bytes;  // of each slab in it
  uint32_t open;        // one bit per slab that is open
};

// Cell: kBytes, kAlign; kSpareBytes, what is kept in empty slabs; kSpreadBytes, what the slabs of a
// store that are spread may take; construct(void*), destroy(void*), next(void*) and set_next(void*,
// void*), a pointer that a free cell keeps.
template <class Cell>
class SlabStore {
 public:
  static constexpr size_t kCellBytes = Cell::kBytes;
  static constexpr size_t kChunk = size_t{2} << 20;
  static constexpr size_t kSmallSlab = size_t{64} << 10;
  static constexpr size_t kBigSlab = kChunk;
  static constexpr size_t kBigFrom = size_t{8} << 20;  // bytes in small slabs before big ones come
  static_assert(Cell::kSpreadBytes <= kBigFrom);

  SlabStore() noexcept = default;
  SlabStore(const SlabStore&) = delete;
  SlabStore& operator=(const SlabStore&) = delete;
  ~SlabStore() { PERVMA_ASSERT(slabs_ == 0 && roomy_ == nullptr); }

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
    SlabHead* const slab = bytes == kBigSlab ? open_chunk() : open_piece();
    if (slab == nullptr) return false;
    slab->free = nullptr;
    slab->used = slab->carved = 0;
    slab->stride =
        static_cast<uint32_t>(bytes_ < Cell::kSpreadBytes ? kSpreadStride : Cell::kBytes);
    slab->cells = static_cast<uint32_t>((bytes - kFirstCell) / slab->stride);
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

  // What put() or take_empty_slab() returned.
  void give_back(SlabHead* slab) noexcept {
    for (uint32_t i = 0; i < slab->carved; ++i) Cell::destroy(cell_at(slab, i));
    SlabHead* const chunk = chunk_of(slab);
    if (chunk->slab_bytes == kBigSlab) {
      detail::chunk_release(chunk, kChunk);
      return;
    }
    if (chunk->open == kAllOpen) link_chunk(chunk);
    chunk->open &= ~(uint32_t{1} << index_in(chunk, slab));
    if (chunk->open == 0) {
      unlink_chunk(chunk);
      detail::chunk_release(chunk, kChunk);
      return;
    }
    const size_t kept = slab == chunk ? kHeadPage : 0;
    detail::chunk_close(reinterpret_cast<char*>(slab) + kept, kSmallSlab - kept);
  }

  // When there is time for it, and under no lock (the one member that needs none).
  void use_huge_pages() noexcept {
    if (complete_.load(std::memory_order_relaxed) == nullptr) [[likely]]
      return;
    void* const chunk = complete_.exchange(nullptr, std::memory_order_relaxed);
    if (chunk != nullptr) detail::chunk_collapse(chunk, kChunk);
  }

  size_t live() const noexcept { return live_; }
  size_t slabs() const noexcept { return slabs_; }
  size_t bytes() const noexcept { return bytes_; }

 private:
  static constexpr size_t kPair = size_t{2} * kCacheLine;  // Processors fetch lines by twos.
  static constexpr size_t round_up(size_t n, size_t to) noexcept { return (n + to - 1) / to * to; }
  static constexpr size_t kFirstCell = round_up(round_up(sizeof(SlabHead), kPair), Cell::kAlign);
  static constexpr size_t kSpreadStride = round_up(Cell::kBytes, kPair);
  // Page by page, spread cells that fit in a line take turns between the lines of their pairs: half
  // of the sets of the cache would have none of them otherwise.
  static constexpr size_t kSecondLine =
      Cell::kSpreadBytes != 0 && Cell::kBytes <= kCacheLine ? kCacheLine : 0;
  static constexpr size_t kTurn = 4096 / kPair;

  static constexpr size_t kHeadPage = 4096;
  static constexpr uint32_t kAllOpen = ~uint32_t{0};
  static_assert(kChunk / kSmallSlab == 32, "a bit of `open` for each");

  static SlabHead* chunk_of(void* cell) noexcept {
    return reinterpret_cast<SlabHead*>(reinterpret_cast<uintptr_t>(cell) & ~(kChunk - 1));
  }
  static SlabHead* slab_of(void* cell) noexcept {
    const size_t bytes = chunk_of(cell)->slab_bytes;
    return reinterpret_cast<SlabHead*>(reinterpret_cast<uintptr_t>(cell) & ~(bytes - 1));
  }
  static size_t index_in(const SlabHead* chunk, const SlabHead* slab) noexcept {
    return static_cast<size_t>(reinterpret_cast<const char*>(slab) -
                               reinterpret_cast<const char*>(chunk)) /
           kSmallSlab;
  }

  // A whole chunk as one slab. Null: no memory.
  static SlabHead* open_chunk() noexcept {
    void* const memory = detail::chunk_reserve(kChunk);
    if (memory == nullptr) return nullptr;
    if (!detail::chunk_open_huge(memory, kChunk)) {
      detail::chunk_release(memory, kChunk);
      return nullptr;
    }
    auto* const chunk = static_cast<SlabHead*>(memory);
    chunk->slab_bytes = kBigSlab;
    return chunk;
  }
  // The lowest slab of a chunk that is not open. Null: no memory.
  SlabHead* open_piece() noexcept {
    SlabHead* chunk = roomy_;
    if (chunk == nullptr) {
      void* const memory = detail::chunk_reserve(kChunk);
      if (memory == nullptr) return nullptr;
      if (!detail::chunk_open(memory, kSmallSlab)) {
        detail::chunk_release(memory, kChunk);
        return nullptr;
      }
      chunk = static_cast<SlabHead*>(memory);
      chunk->slab_bytes = kSmallSlab;
      chunk->open = 1;
      link_chunk(chunk);
      return chunk;
    }
    const int i = std::countr_one(chunk->open);
    char* const memory = reinterpret_cast<char*>(chunk) + static_cast<size_t>(i) * kSmallSlab;
    if (!detail::chunk_open(memory, kSmallSlab)) return nullptr;
    chunk->open |= uint32_t{1} << i;
    if (chunk->open == kAllOpen) {
      unlink_chunk(chunk);
      complete_.store(chunk, std::memory_order_relaxed);
    }
    return reinterpret_cast<SlabHead*>(memory);
  }
  void link_chunk(SlabHead* chunk) noexcept {
    chunk->chunk_prev = nullptr;
    chunk->chunk_next = roomy_;
    if (roomy_ != nullptr) roomy_->chunk_prev = chunk;
    roomy_ = chunk;
  }
  void unlink_chunk(SlabHead* chunk) noexcept {
    (chunk->chunk_prev != nullptr ? chunk->chunk_prev->chunk_next : roomy_) = chunk->chunk_next;
    if (chunk->chunk_next != nullptr) chunk->chunk_next->chunk_prev = chunk->chunk_prev;
  }

  static void* cell_at(SlabHead* slab, size_t i) noexcept {
    const size_t turn = slab->stride == Cell::kBytes ? 0 : i / kTurn % 2;
    return reinterpret_cast<char*>(slab) + kFirstCell + i * slab->stride + turn * kSecondLine;
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
  SlabHead* roomy_ = nullptr;  // chunks with slabs to open, by their first slab
  // A chunk for use_huge_pages(), or null. If it has gone by then, the advice is about no memory,
  // or about other memory of the process, which it does not harm.
  std::atomic<void*> complete_{nullptr};
  size_t empty_bytes_ = 0;
  size_t live_ = 0;
  size_t slabs_ = 0;
  size_t bytes_ = 0;
};

}  // namespace pervma

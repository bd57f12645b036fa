// cell_cache.h: the type-stable memory of one map's ranges, in a few sizes of cell, and the
// writer's own stock of free cells.
#pragma once

#include <memory>
#include <new>

#include "range/range_cell.h"
#include "tree/type_stable_cache.h"

namespace pervma {

// Any thread may call anything.
template <class P>
class RangeCellCache {
 public:
  virtual ~RangeCellCache() = default;
  RangeCellCache(const RangeCellCache&) = delete;
  RangeCellCache& operator=(const RangeCellCache&) = delete;

  virtual RangeCell<P>* alloc() noexcept = 0;  // Null: no memory.
  virtual void free(RangeCell<P>* cell) noexcept = 0;
  // See TypeStableCache: while the tree still leads to cells that are freed.
  virtual void hold_slabs() noexcept = 0;
  virtual void let_slabs_go() noexcept = 0;
  virtual CacheStats stats() const noexcept = 0;
  virtual void use_huge_pages() noexcept = 0;  // Under no lock.

  // For values of `words` words. Null: no memory.
  static std::unique_ptr<RangeCellCache> create(uint32_t words, AllocationHook hook) noexcept;

 protected:
  RangeCellCache() = default;
};

template <class P, uint32_t kWords>
class SizedRangeCellCache final : public RangeCellCache<P> {
 public:
  explicit SizedRangeCellCache(AllocationHook hook) noexcept : cells_(hook) {}
  RangeCell<P>* alloc() noexcept override { return cells_.alloc(); }
  void free(RangeCell<P>* cell) noexcept override {
    cells_.free(static_cast<SizedRangeCell<P, kWords>*>(cell));
  }
  void hold_slabs() noexcept override { cells_.hold_slabs(); }
  void let_slabs_go() noexcept override { cells_.let_slabs_go(); }
  CacheStats stats() const noexcept override { return cells_.stats(); }
  void use_huge_pages() noexcept override { cells_.use_huge_pages(); }

 private:
  // Who holds a range writes its count, so the first 2,044 ranges of a map lie apart. Not more: so
  // spread they take twice the memory, and more of the caches and of the TLB.
  static constexpr size_t kSpread = size_t{256} << 10;

  TypeStableCache<SizedRangeCell<P, kWords>, kSpread> cells_;
};

template <class P>
std::unique_ptr<RangeCellCache<P>> RangeCellCache<P>::create(uint32_t words,
                                                             AllocationHook hook) noexcept {
  const auto sized = [&]<uint32_t kWords>() {
    return std::unique_ptr<RangeCellCache>(new (std::nothrow) SizedRangeCellCache<P, kWords>(hook));
  };
  switch (words) {
    case 1: return sized.template operator()<1>();
    case 2: return sized.template operator()<2>();
    case 3: return sized.template operator()<3>();
    case 4: return sized.template operator()<4>();
    case 5:
    case 6: return sized.template operator()<6>();
    default: return sized.template operator()<8>();
  }
}

// Free cells linked through themselves. The map's writer keeps some, so that not every change locks
// the cache.
template <class P>
class RangeCellList {
 public:
  RangeCell<P>* pop() noexcept {
    RangeCell<P>* cell = head_;
    if (cell != nullptr) {
      head_ = static_cast<RangeCell<P>*>(cell->free_next());
      --size_;
    }
    return cell;
  }
  void push(RangeCell<P>* cell) noexcept {
    cell->set_free_next(head_);
    head_ = cell;
    ++size_;
  }
  size_t size() const noexcept { return size_; }

 private:
  RangeCell<P>* head_ = nullptr;
  size_t size_ = 0;
};

}  // namespace pervma

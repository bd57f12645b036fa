// mappers.h: the reverse map: which VMAs may show the pages of one thing. The thing is the cache of
// a backing object, or a family of private memory (an anon_vma without a parent and all that forks
// made from it). A frame knows its Mappers and its page number there; a VMA is in the list of its
// object, or, without one, in that of its anon_vma's family; so from a frame to every entry that
// may have it, one list is gone through.
//
// "May": a VMA stands for every page between its bounds, entries tell. The list keeps the order of
// joining, and goers go in it: a fork's child comes after its parent, so an entry that is copied
// while a goer is between the two is met in the child.
//
// Lock order: mmap lock > VMA write lock > this > page-table lock. Held while bounds or page offset
// of a VMA in the list change, and while its entries move to another VMA; so who holds it sees each
// entry in exactly one place.
//
// A frame's pointer is not counted: whoever comes from a frame is in a read section and takes the
// object with try_hold(). So the pointer goes with the frame's last reference, and whoever has one
// keeps the list: by a lock on a VMA that is in it, by a reference of his own, or, a speculative
// fault, by nothing but a read section that began when such a VMA was there. For his sake the list
// ends late (sync/late_end.h): until his section ends, others may come from his frame.
#pragma once

#include <atomic>
#include <cstdint>

#include "pervma/address.h"
#include "pervma/vma_info.h"
#include "sync/late_end.h"
#include "sync/native_platform.h"
#include "sync/refcount.h"
#include "sync/tracked_mutex.h"

namespace pervma {

class Mmu;

// What whoever comes from a frame has to know of a VMA.
struct MapperView {
  Range range;
  uint64_t pgoff;
  VmaFlags flags;
};

class MapperLink;

// The space that a VMA belongs to: its pages, and how to look at a VMA of its kind.
struct MapperSpace {
  Mmu& mmu;
  MapperView (*view)(const MapperLink&) noexcept;
};

// A VMA's place in a list: a base of every Vma. Changed under the list's lock.
class MapperLink {
 public:
  // When the VMA comes out of the allocator.
  void set_mapper_space(const MapperSpace& space) noexcept {
    space_ = reinterpret_cast<uintptr_t>(&space);
  }
  const MapperSpace& mapper_space() const noexcept {
    return *reinterpret_cast<const MapperSpace*>(space_ & ~kLinked);
  }
  bool is_linked() const noexcept { return (space_ & kLinked) != 0; }

 private:
  friend class Mappers;
  static constexpr uintptr_t kLinked = 1;

  MapperLink* next_ = nullptr;
  MapperLink* prev_ = nullptr;
  uintptr_t space_ = 0;  // with kLinked while it is in a list
};

class Mappers {
 public:
  // The list of an object. Null: no memory. The caller holds one reference.
  static Mappers* create() noexcept;
  Mappers(const Mappers&) = delete;
  Mappers& operator=(const Mappers&) = delete;

  void hold() noexcept { (void)refs_.get(); }
  // Inside the read section in which the pointer was found. False: on its way out.
  [[nodiscard]] bool try_hold() noexcept { return refs_.get(); }
  virtual void drop() noexcept;

  KindMutex& lock() noexcept { return lock_; }
  // Which space has the lock among all its locks (all_locks.h), if one has. Set under the lock.
  const void* taken_by() const noexcept { return taken_by_.load(std::memory_order_relaxed); }
  void set_taken_by(const void* space) noexcept {
    taken_by_.store(space, std::memory_order_relaxed);
  }

  // Take the lock. The VMA has its bounds.
  void add(MapperLink& vma) noexcept;
  void remove(MapperLink& vma) noexcept;

  // Calls visit(Mmu&, Range, VmaFlags) with the part of every VMA that shows pages of [first, first
  // + count). Under the lock.
  template <class Visit>
  void for_each(uint64_t first, uint64_t count, Visit visit) const noexcept {
    for (const MapperLink* link = first_; link != nullptr; link = link->next_) {
      const MapperSpace& space = link->mapper_space();
      const MapperView v = space.view(*link);
      const uint64_t end = v.pgoff + v.range.pages().value;
      if (end <= first) continue;
      const uint64_t low = v.pgoff > first ? v.pgoff : first;
      const uint64_t high = count < end - first ? first + count : end;
      if (low >= high) continue;
      visit(space.mmu,
            Range{v.range.start + (low - v.pgoff) * kPageSize,
                  v.range.start + (high - v.pgoff) * kPageSize},
            v.flags);
    }
  }

 protected:
  explicit Mappers(LockTracker::Kind kind) noexcept : lock_(kind) { refs_.set(1); }
  virtual ~Mappers() = default;
  // Has it deleted when nobody can come to it any more. The last reference is gone.
  static void free_later(Mappers* mappers) noexcept;

  Refcount refs_;

 private:
  KindMutex lock_;
  std::atomic<const void*> taken_by_{nullptr};
  MapperLink* first_ = nullptr;
  MapperLink* last_ = nullptr;
  // Last: nothing that a late reader looks at is before it in the same word.
  struct Ending : BasicLateEnd<NativePlatform> {
    Mappers* mappers = nullptr;
  } ending_;
};

// Holds the lock of a list, if there is one, while bounds change or entries move.
class MappersGuard {
 public:
  explicit MappersGuard(Mappers* mappers) noexcept : mappers_(mappers) {
    if (mappers_ != nullptr) mappers_->lock().lock();
  }
  ~MappersGuard() {
    if (mappers_ != nullptr) mappers_->lock().unlock();
  }
  MappersGuard(const MappersGuard&) = delete;
  MappersGuard& operator=(const MappersGuard&) = delete;

 private:
  Mappers* const mappers_;
};

}  // namespace pervma

// anon_vma.h: the identity that faulted private memory gets: two VMAs merge only when theirs agree.
// The one without a parent, the root, is also the reverse map of its whole family (mappers.h): a
// page can be shown by VMAs of any member, and a family is as large as its forks.
//
// A VMA's chain is the set of identities whose pages it may show: its own, and after a fork those
// of its ancestors. The ancestors' part is immutable and shared, so that a split clones a chain
// without an allocation.
#pragma once

#include <atomic>
#include <cstdint>

#include "sync/native_platform.h"
#include "sync/refcount.h"
#include "vm/mappers.h"

namespace pervma {

class AnonVma final : public Mappers {
 public:
  // Null when there is no memory. The caller holds one reference. `parent` is the identity
  // that a fork's child descends from, or null.
  static AnonVma* create(uint64_t id, AnonVma* parent) noexcept;

  uint64_t id() const noexcept { return id_; }

  // Held by every member of the family.
  AnonVma& root() noexcept { return *root_; }

  void drop() noexcept override;  // The last drop frees it and its hold on the parent.

  // VMAs whose own identity this is, and identities that forks derived from it. Relaxed counters:
  // read and written under the mmap lock for write of a space of the family; a stale value only
  // decides whether an identity is used again.
  void add_vma(int n) noexcept { vmas_.fetch_add(n, std::memory_order_relaxed); }
  bool may_be_reused() const noexcept {
    return vmas_.load(std::memory_order_relaxed) == 0 &&
           children_.load(std::memory_order_relaxed) < 2;
  }

 private:
  AnonVma(uint64_t id, AnonVma* parent) noexcept;
  ~AnonVma() override = default;

  const uint64_t id_;
  AnonVma* const parent_;  // held
  AnonVma* const root_;
  std::atomic<int> vmas_{0};
  std::atomic<int> children_{0};
};

// The ancestors' part of a chain: an immutable, counted array. A null pointer is the empty one.
class AnonAncestors {
 public:
  // `base` and `last`, all held; null when there is no memory.
  static AnonAncestors* create(const AnonAncestors* base, AnonVma* last) noexcept;

  uint32_t size() const noexcept { return size_; }
  AnonVma* at(uint32_t i) const noexcept { return items()[i]; }
  bool contains(const AnonVma* a) const noexcept {
    for (uint32_t i = 0; i < size_; ++i) {
      if (at(i) == a) return true;
    }
    return false;
  }
  void hold() noexcept { (void)refs_.get(); }
  void drop() noexcept;

 private:
  explicit AnonAncestors(uint32_t size) noexcept : size_(size) { refs_.set(1); }
  ~AnonAncestors() = default;
  AnonVma** items() noexcept { return reinterpret_cast<AnonVma**>(this + 1); }
  AnonVma* const* items() const noexcept { return reinterpret_cast<AnonVma* const*>(this + 1); }

  Refcount refs_;
  const uint32_t size_;
};

}  // namespace pervma

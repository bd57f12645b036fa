// design.h: the lock designs that an address space can be made with. All are in one binary.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pervma {

enum class Design : uint8_t {
  mmap_lock,    // no VMA lock: every fault takes the mmap lock for read
  speculative,  // no VMA lock: work first, and ask before the commit whether anybody wrote
  rwsem,        // a reader/writer semaphore in every VMA, beside what faults read
  rwsem_split,  // the same, in an object of its own
  count,        // a signed count; readers can starve a writer
  refcount,     // a 4-byte reader count in every VMA; the default
  scalable,     // the same, and per-CPU counts for VMAs that many threads fault in
};

inline constexpr std::array kDesigns{Design::mmap_lock,   Design::speculative, Design::rwsem,
                                     Design::rwsem_split, Design::count,       Design::refcount,
                                     Design::scalable};

constexpr std::string_view design_name(Design d) noexcept {
  switch (d) {
    case Design::mmap_lock: return "mmap_lock";
    case Design::speculative: return "speculative";
    case Design::rwsem: return "rwsem";
    case Design::rwsem_split: return "rwsem_split";
    case Design::count: return "count";
    case Design::refcount: return "refcount";
    case Design::scalable: return "scalable";
  }
  return "?";
}

constexpr std::optional<Design> design_from_name(std::string_view name) noexcept {
  for (Design d : kDesigns) {
    if (design_name(d) == name) return d;
  }
  return std::nullopt;
}

// When the memory of a VMA that was unmapped is used again. Readers may still look at it: at once
// is safe because it stays a VMA (type-stable); the others wait for them, as Linux did at first.
enum class VmaFree : uint8_t {
  at_once,      // every design
  rcu,          // after an RCU grace period, one call each: rwsem, rwsem_split, count
  rcu_batched,  // the same, 32 VMAs to a call
};

inline constexpr std::array kVmaFrees{VmaFree::at_once, VmaFree::rcu, VmaFree::rcu_batched};

constexpr std::string_view vma_free_name(VmaFree f) noexcept {
  switch (f) {
    case VmaFree::at_once: return "at_once";
    case VmaFree::rcu: return "rcu";
    case VmaFree::rcu_batched: return "rcu_batched";
  }
  return "?";
}

// What `pervma designs` prints.
struct DesignInfo {
  uint32_t lock_bytes;         // per VMA: what the lock needs of it, and objects of its own
  uint32_t vma_bytes;          // per VMA, all of it
  uint32_t hot_bytes;          // per hot VMA besides; 0: there are no hot VMAs
  bool frees_by_rcu;           // runs with every VmaFree
  std::string_view what;       // the design in a few words
  std::string_view reads;      // what a reader writes
  std::string_view waits_for;  // what a writer waits for
  std::string_view weakness;
};
DesignInfo design_info(Design) noexcept;

}  // namespace pervma

// vma_info.h: a copy of what one VMA was when it was looked at.
#pragma once

#include <cstdint>
#include <string>

#include "pervma/address.h"
#include "pervma/user_fault.h"

namespace pervma {

// Flags of a VMA: a set of bits. The values are pervma's own.
enum class VmaFlag : uint32_t {
  read = 1u << 0,
  write = 1u << 1,
  exec = 1u << 2,
  shared = 1u << 3,
  may_read = 1u << 4,
  may_write = 1u << 5,
  may_exec = 1u << 6,
  may_share = 1u << 7,
  growsdown = 1u << 8,
  maybe_guard = 1u << 9,  // guard pages may have been installed; never cleared, merges spread it
  locked = 1u << 10,
  lock_on_fault = 1u << 11,
  io = 1u << 12,
  sequential = 1u << 13,
  random = 1u << 14,
  dont_copy = 1u << 15,
  dont_expand = 1u << 16,
  account = 1u << 17,
  noreserve = 1u << 18,
  wipe_on_fork = 1u << 19,
  dont_dump = 1u << 20,
  droppable = 1u << 21,
  hugepage = 1u << 22,
  nohugepage = 1u << 23,
  mergeable = 1u << 24,
  sealed = 1u << 25,
  pfnmap = 1u << 26,
  mixedmap = 1u << 27,
  user_fault = 1u << 28,  // registered with a UserFaults: user_fault.h
  sync = 1u << 30,        // MapFlags::sync was given; nothing more is modelled
  special = 1u << 29,  // made by the system (vdso): may not be touched by advice that drops pages
};

class VmaFlags {
 public:
  constexpr VmaFlags() noexcept = default;
  // A bit is a set. NOLINTNEXTLINE(google-explicit-constructor)
  constexpr VmaFlags(VmaFlag f) noexcept : bits_(static_cast<uint32_t>(f)) {}
  static constexpr VmaFlags from_bits(uint32_t bits) noexcept {
    VmaFlags f;
    f.bits_ = bits;
    return f;
  }
  constexpr uint32_t bits() const noexcept { return bits_; }
  constexpr bool has(VmaFlag f) const noexcept { return (bits_ & static_cast<uint32_t>(f)) != 0; }
  constexpr bool has_any(VmaFlags f) const noexcept { return (bits_ & f.bits_) != 0; }
  constexpr bool has_all(VmaFlags f) const noexcept { return (bits_ & f.bits_) == f.bits_; }
  constexpr bool empty() const noexcept { return bits_ == 0; }
  friend constexpr VmaFlags operator|(VmaFlags a, VmaFlags b) noexcept {
    return from_bits(a.bits_ | b.bits_);
  }
  friend constexpr VmaFlags operator&(VmaFlags a, VmaFlags b) noexcept {
    return from_bits(a.bits_ & b.bits_);
  }
  friend constexpr VmaFlags operator^(VmaFlags a, VmaFlags b) noexcept {
    return from_bits(a.bits_ ^ b.bits_);
  }
  friend constexpr VmaFlags operator~(VmaFlags a) noexcept { return from_bits(~a.bits_); }
  constexpr VmaFlags& operator|=(VmaFlags o) noexcept { return *this = *this | o; }
  constexpr VmaFlags& operator&=(VmaFlags o) noexcept { return *this = *this & o; }
  friend constexpr bool operator==(VmaFlags, VmaFlags) noexcept = default;

 private:
  uint32_t bits_ = 0;
};
constexpr VmaFlags operator|(VmaFlag a, VmaFlag b) noexcept { return VmaFlags(a) | VmaFlags(b); }

// Pages by what their entries are at the moment.
struct PageUse {
  uint64_t anonymous = 0;  // private pages of their own
  uint64_t file = 0;       // pages of a backing object's cache, shared memory included
  uint64_t zero = 0;       // read, never written: the one page of zeros
  uint64_t guard = 0;      // marks, without a page
  uint64_t huge = 0;       // of the anonymous ones: parts of huge pages
  uint64_t swapped = 0;    // private pages in the engine's store

  uint64_t resident() const noexcept { return anonymous + file; }
  PageUse& operator+=(const PageUse& more) noexcept {
    anonymous += more.anonymous;
    file += more.file;
    zero += more.zero;
    guard += more.guard;
    huge += more.huge;
    swapped += more.swapped;
    return *this;
  }
};

// What a walk over a whole space found, one VMA after the other.
struct SpaceStatistics {
  uint64_t vmas = 0;
  PageCount mapped{};
  PageCount locked{};
  PageUse pages{};
};

struct VmaInfo {
  Range range;
  VmaFlags flags;
  uint64_t page_offset = 0;  // pages into the file; for anonymous memory the kernel's own number
  uint64_t anon_vma = 0;     // identity of its anon_vma; 0: none yet
  UserFaultModes user_faults{};  // which faults are told to the embedder
  bool has_file = false;
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  uint64_t inode = 0;
  std::string name;  // file name, [heap], [stack], or the name of the mapping
};

struct FileIdentity;

// The same without copies, for who looks at many: valid during the call that shows it.
struct VmaView {
  Range range;
  VmaFlags flags;
  uint64_t page_offset = 0;            // as VmaInfo::page_offset
  const FileIdentity* file = nullptr;  // null: anonymous
  UserFaultModes user_faults{};        // as VmaInfo::user_faults
};

class VmaVisitor {
 public:
  // Called under the mmap lock for read: must not call into the space.
  virtual void visit(const VmaView&) = 0;

 protected:
  ~VmaVisitor() = default;
};

}  // namespace pervma

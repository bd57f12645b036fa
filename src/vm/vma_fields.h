// vma_fields.h: what a VMA says of its range, whatever its lock: as plain fields, which a lock
// protects, and as fields that speculation copies without one.
#pragma once

#include <atomic>
#include <cstdint>

#include "pervma/address.h"
#include "pervma/vma_info.h"
#include "sync/native_platform.h"
#include "sync/racy.h"
#include "vm/anon_vma.h"
#include "vm/identity_word.h"
#include "vm/open_file.h"
#include "vm/user_context.h"

namespace pervma {

using IdentityWord = BasicIdentityWord<NativePlatform, AnonVma>;

// What fault and mapping code needs of a VMA.
class VmaFields {
 public:
  Range range;
  uint64_t pgoff = 0;  // page offset of range.start in the file; of anonymous memory: see vm docs
  OpenFile* file = nullptr;  // counted

  VmaFields() noexcept = default;

  VmaFlags flags() const noexcept { return flags_; }
  // Which faults are told; none unless VmaFlag::user_fault is set.
  UserFaultModes user_modes() const noexcept { return user_.modes(); }
  UserContext* user_context() const noexcept { return user_.context(); }
  bool is_anonymous() const noexcept { return file == nullptr; }
  bool is_shared() const noexcept { return flags_.has(VmaFlag::shared); }
  Address start() const noexcept { return range.start; }
  Address end() const noexcept { return range.end; }
  // Page offset that the address has in the VMA's object.
  uint64_t pgoff_at(Address a) const noexcept { return pgoff + ((a - range.start) >> kPageShift); }

  AnonVma* anon_vma() const noexcept { return IdentityWord::look(anon_vma_); }
  // The list in which whoever comes from one of its frames finds the VMA; null: it has no such
  // frames yet. Of a copy only inside the read section in which it was made.
  Mappers* mappers() const noexcept {
    if (OpenFile* const f = file) return f->mappers();
    AnonVma* const anon = anon_vma();
    return anon != nullptr ? &anon->root() : nullptr;
  }

 protected:
  friend class RacyVmaFields;
  VmaFields(Range r, uint64_t offset, OpenFile* f, VmaFlags flags, UserRegistration user,
            AnonVma* anon) noexcept
      : range(r), pgoff(offset), file(f), anon_vma_(anon), flags_(flags), user_(user) {}

  std::atomic<AnonVma*> anon_vma_{nullptr};  // counted
  VmaFlags flags_;
  UserRegistration user_;  // counted
};
static_assert(sizeof(VmaFields) == 48);

// A Range whose ends are copied one by one.
class RacyRange {
 public:
  Racy<Address> start;
  Racy<Address> end;

  RacyRange() noexcept {}
  RacyRange(const RacyRange&) = delete;
  RacyRange& operator=(const RacyRange& other) noexcept { return *this = other.copy(); }
  RacyRange& operator=(Range r) noexcept {
    start = r.start;
    end = r.end;
    return *this;
  }
  Range copy() const noexcept { return {start, end}; }
  operator Range() const noexcept { return copy(); }  // NOLINT(google-explicit-constructor)

  bool empty() const noexcept { return copy().empty(); }
  bool contains(Address a) const noexcept { return copy().contains(a); }
  PageCount pages() const noexcept { return copy().pages(); }
  Range intersection(Range r) const noexcept { return copy().intersection(r); }
};

// The same as VmaFields, for whoever copies them while a writer may be writing. Reads of several
// fields are of one moment only under a lock, or when validated afterwards.
class RacyVmaFields {
 public:
  RacyRange range;
  Racy<uint64_t> pgoff;
  Racy<OpenFile*> file;

  VmaFlags flags() const noexcept { return flags_; }
  UserFaultModes user_modes() const noexcept { return user().modes(); }
  UserContext* user_context() const noexcept { return user().context(); }
  bool is_anonymous() const noexcept { return file == nullptr; }
  bool is_shared() const noexcept { return flags().has(VmaFlag::shared); }
  Address start() const noexcept { return range.start; }
  Address end() const noexcept { return range.end; }
  uint64_t pgoff_at(Address a) const noexcept { return pgoff + ((a - start()) >> kPageShift); }
  AnonVma* anon_vma() const noexcept { return IdentityWord::look(anon_vma_); }
  // The list in which whoever comes from one of its frames finds the VMA; null: it has no such
  // frames yet. Of a copy only inside the read section in which it was made.
  Mappers* mappers() const noexcept {
    if (OpenFile* const f = file) return f->mappers();
    AnonVma* const anon = anon_vma();
    return anon != nullptr ? &anon->root() : nullptr;
  }

  // A copy, as the functions that look at a VMA's fields take it.
  operator VmaFields() const noexcept {  // NOLINT(google-explicit-constructor)
    return {range, pgoff, file, flags(), user(), anon_vma()};
  }

 protected:
  std::atomic<AnonVma*> anon_vma_{nullptr};
  Racy<VmaFlags> flags_;
  UserRegistration user() const noexcept { return user_; }
  Racy<UserRegistration> user_;
};
static_assert(sizeof(RacyVmaFields) == 48);

}  // namespace pervma

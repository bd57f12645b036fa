// What an owner does with memory that nobody else knows of: guard pages, a second mapping of the
// same pages, and seals and locks of all memory, in a space that ends soon.
#include <fmt/format.h>

#include <span>

#include "bench/torture/owner.h"

namespace pervma::torture {

namespace {

constexpr Prot kReadWrite = Prot::read | Prot::write;

}  // namespace

// A guard page refuses what the VMA allows, drops what was in the page, and lets its neighbours be.
void Owner::guards() {
  constexpr uint64_t kLength = 6 * kPageSize;
  me_.events.begin("guards", {}, 6);
  const Result<Address> place = space_.map(
      {.length = kLength, .prot = kReadWrite, .flags = MapFlags::private_ | MapFlags::anonymous});
  if (!place) {
    violated(fmt::format("mmap for guards failed: {}", error_name(place.error())));
    return;
  }
  const Address guard = *place + (1 + random_.below(4)) * kPageSize;
  const Address neighbour = guard + kPageSize;
  const uint64_t value = ++values_;
  bool good = store_and_load(space_, guard, value) && store_and_load(space_, neighbour, value);
  good = good && space_.advise(guard, kPageSize, Advice::guard_install).has_value();
  uint64_t word = 1;
  const auto load = [&](Address from) {
    return space_.load(from, std::as_writable_bytes(std::span(&word, 1)));
  };
  good = good && load(guard) != FaultOutcome::resolved;
  good = good && load(neighbour) == FaultOutcome::resolved && word == value;
  good = good && space_.advise(guard, kPageSize, Advice::guard_remove).has_value();
  good = good && load(guard) == FaultOutcome::resolved && word == 0;
  if (!good) violated(fmt::format("the guard page at {:#x} was none", guard.value));
  if (!space_.unmap(*place, kLength)) violated("munmap of a guarded mapping failed");
  me_.count("guards");
  me_.events.end("done");
}

// mremap of nothing: shared memory gets a second mapping of the same pages.
void Owner::duplicate() {
  constexpr uint64_t kLength = 2 * kPageSize;
  me_.events.begin("mremap duplicate", {}, 2);
  const Result<Address> first = space_.map(
      {.length = kLength, .prot = kReadWrite, .flags = MapFlags::shared | MapFlags::anonymous});
  if (!first) {
    violated(fmt::format("mmap of shared memory failed: {}", error_name(first.error())));
    return;
  }
  const uint64_t value = ++values_;
  bool good = store_and_load(space_, *first + kPageSize, value);
  const Result<Address> second = space_.remap({.old_address = *first,
                                               .old_length = 0,
                                               .new_length = kLength,
                                               .flags = RemapFlags::maymove});
  uint64_t word = 0;
  good = good && second && *second != *first &&
         space_.load(*second + kPageSize, std::as_writable_bytes(std::span(&word, 1))) ==
             FaultOutcome::resolved &&
         word == value;
  if (!good) violated(fmt::format("the second mapping of {:#x} is not one", first->value));
  if (second && !space_.unmap(*second, kLength)) violated("munmap of a duplicate failed");
  if (!space_.unmap(*first, kLength)) violated("munmap of shared memory failed");
  me_.count("mremap duplicate");
  me_.events.end("done");
}

// In a space that ends soon: nothing but its end undoes a seal. Pages 2n of the lot are mapped.
void Owner::seal_some(AddressSpace& space) {
  if (!space.lock_all(LockAllFlags::current | LockAllFlags::future)) violated("mlockall failed");
  const Result<Address> locked = space.map(
      {.length = kPageSize, .prot = kReadWrite, .flags = MapFlags::private_ | MapFlags::anonymous});
  const auto is_locked = [&](Address a) {
    const std::optional<VmaInfo> vma = space.find_vma(a);
    return vma && vma->flags.has(VmaFlag::locked);
  };
  if (!locked || !is_locked(*locked) || !is_locked(base_)) violated("mlockall locked too little");
  if (!space.unlock_all() || is_locked(base_)) violated("munlockall unlocked too little");
  const Address sealed = at(kPages - 2);
  if (!space.seal(sealed, kPageSize)) violated("mseal failed");
  const Result<void> gone = space.unmap(sealed, kPageSize);
  const Result<void> changed = space.protect(sealed, kPageSize, Prot::none);
  if (gone || gone.error() != Error::perm || changed || changed.error() != Error::perm) {
    violated(fmt::format("the sealed page at {:#x} was changed", sealed.value));
  }
  me_.count("mseal");
}

}  // namespace pervma::torture

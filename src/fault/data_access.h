// data_access.h: loads, stores and copies through the page tables. Included with fault_path.h.
#pragma once

#include <algorithm>

#include "fault/paged_address_space.h"

namespace pervma {

// Touches the bytes page by page, faulting until each touch reaches its page.
template <VmaLockDesign L>
template <class Byte, class Touch>
FaultOutcome PagedAddressSpace<L>::for_each_page(Address a, std::span<Byte> bytes,
                                                 const Touching& how, Touch touch) noexcept {
  while (!bytes.empty()) {
    const std::size_t n = std::min<std::size_t>(bytes.size(), kPageSize - a.offset_in_page());
    while (touch(a, bytes.first(n)) == SoftMmu::Reach::faults) {
      const FaultOutcome outcome = handle_fault(a, how.access, how.origin, how.stop);
      if (outcome != FaultOutcome::resolved) return outcome;
    }
    a = a + n;
    bytes = bytes.subspan(n);
  }
  return FaultOutcome::resolved;
}

template <VmaLockDesign L>
FaultOutcome PagedAddressSpace<L>::load(Address a, std::span<std::byte> to,
                                        const std::stop_token& stop) {
  return for_each_page(
      a, to, {Access::read, FaultOrigin::user, stop},
      [this](Address at, std::span<std::byte> part) { return soft_mmu_.load(at, part); });
}

template <VmaLockDesign L>
FaultOutcome PagedAddressSpace<L>::store(Address a, std::span<const std::byte> from,
                                         const std::stop_token& stop) {
  return for_each_page(
      a, from, {Access::write, FaultOrigin::user, stop},
      [this](Address at, std::span<const std::byte> part) { return soft_mmu_.store(at, part); });
}

template <VmaLockDesign L>
Result<void> PagedAddressSpace<L>::copy_out(Address a, std::span<std::byte> to,
                                            const std::stop_token& stop) {
  const FaultOutcome outcome = for_each_page(
      a, to, {Access::read, FaultOrigin::kernel, stop},
      [this](Address at, std::span<std::byte> part) { return soft_mmu_.load(at, part); });
  if (outcome != FaultOutcome::resolved) return std::unexpected(Error::fault);
  return {};
}

template <VmaLockDesign L>
Result<void> PagedAddressSpace<L>::copy_in(Address a, std::span<const std::byte> from,
                                           const std::stop_token& stop) {
  const FaultOutcome outcome = for_each_page(
      a, from, {Access::write, FaultOrigin::kernel, stop},
      [this](Address at, std::span<const std::byte> part) { return soft_mmu_.store(at, part); });
  if (outcome != FaultOutcome::resolved) return std::unexpected(Error::fault);
  return {};
}

// In one VMA, under its read lock; what stands in the way is found out under the mmap lock.
template <VmaLockDesign L>
Result<void> PagedAddressSpace<L>::insert_pages(Address at, std::span<PageBuffer> pages,
                                                const std::stop_token& stop) {
  const std::optional<Range> range = Range::from(at, pages.size() * kPageSize);
  if (!at.is_page_aligned() || !range) return std::unexpected(Error::inval);
  for (const PageBuffer& page : pages) {
    if (!page || !page.belongs_to(engine_)) return std::unexpected(Error::inval);
  }
  if (pages.empty()) return {};
  const auto done = [](const SoftMmu::Insertion& end) -> Result<void> {
    if (end.error) return std::unexpected(*end.error);
    return {};
  };
  const auto fits = [&](const VmaT& vma) {
    const Range whole = vma.range;
    return whole.contains(*range) && vma.is_anonymous() &&
           !vma.flags().has_any(kSpecialFlags | VmaFlag::special);
  };
  if (const Lookup found = this->lock_vma_under_rcu(at); found.end == LookupEnd::locked) {
    const VmaHold hold(found);
    if (!fits(*found.vma)) return std::unexpected(Error::fault);
    if (found.vma->anon_vma() != nullptr) return done(soft_mmu_.insert(*found.vma, at, pages));
  }
  std::optional<MmapRead> read = MmapRead::lock_killable(this->mm_, stop);
  if (!read) return std::unexpected(Error::intr);
  VmaT* const vma = this->vma_at(at);
  if (vma == nullptr || !fits(*vma)) return std::unexpected(Error::fault);
  if (!this->prepare_anon_vma(*vma)) return std::unexpected(Error::nomem);
  return done(soft_mmu_.insert(*vma, at, pages));
}

}  // namespace pervma

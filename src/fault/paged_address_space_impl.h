// paged_address_space_impl.h: all of PagedAddressSpace, for the .cpp files that instantiate it.
#pragma once

#include <new>

#include "fault/data_access.h"
#include "fault/fault_path.h"
#include "fault/speculative_fault.h"
#include "fault/user_operations.h"

namespace pervma {

template <VmaLockDesign L>
std::unique_ptr<PagedAddressSpace<L>> PagedAddressSpace<L>::create(
    SoftEngine& engine, const SpaceOptions& options) noexcept {
  const Frame root = engine.frames().alloc(FrameUse::table, Fill::zero);
  if (!root) return nullptr;
  auto* space = new (std::nothrow) PagedAddressSpace(engine, root, options);
  if (space == nullptr) engine.frames().give_back(root, FrameUse::table, Fill::zero);
  return std::unique_ptr<PagedAddressSpace>(space);
}

template <VmaLockDesign L>
Result<std::unique_ptr<AddressSpace>> PagedAddressSpace<L>::fork(
    const std::stop_token& stop) noexcept {
  for (int rooms = 0;; ++rooms) {
    std::unique_ptr<PagedAddressSpace> child = create(engine_, options_);
    Result<void> copied = std::unexpected(Error::nomem);
    if (child != nullptr) copied = child->copy_from(*this, stop);
    if (copied && child->show_to_collapser()) return child;
    if (copied) copied = std::unexpected(Error::nomem);
    // What came out half built is empty; nobody saw it.
    child.reset();
    if (copied.error() == Error::nomem && stop.stop_requested()) {
      return std::unexpected(Error::intr);
    }
    if (copied.error() != Error::nomem || rooms == SoftEngine::kMaxRooms || !engine_.make_room()) {
      return std::unexpected(copied.error());
    }
  }
}

template <VmaLockDesign L>
Result<std::unique_ptr<AddressSpace>> make_space(SoftEngine& engine,
                                                 const SpaceOptions& options) noexcept {
  if (options.vma_free != VmaFree::at_once && !L::kFreesByRcu) {
    return std::unexpected(Error::inval);
  }
  std::unique_ptr<PagedAddressSpace<L>> space = PagedAddressSpace<L>::create(engine, options);
  if (space == nullptr || !space->show_to_collapser()) return std::unexpected(Error::nomem);
  return space;
}

template <VmaLockDesign L>
Result<std::unique_ptr<AddressSpace>> fork_space(SoftEngine& engine, AddressSpace& parent,
                                                 const std::stop_token& stop) noexcept {
  auto& space = static_cast<PagedAddressSpace<L>&>(parent);
  if (!space.belongs_to(engine)) return std::unexpected(Error::inval);
  return space.fork(stop);
}

}  // namespace pervma

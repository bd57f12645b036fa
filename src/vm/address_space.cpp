// The parts of AddressSpace that are the same under every lock design.
#include "pervma/address_space.h"

namespace pervma {

std::optional<VmaRead> AddressSpace::try_read_vma(Address a) const {
  const std::optional<PinnedVma> pinned = pin_vma(a);
  if (!pinned) return std::nullopt;
  return VmaRead(*this, pinned->vma, pinned->token);
}

VmaRead::VmaRead(VmaRead&& other) noexcept
    : space_(std::exchange(other.space_, nullptr)), vma_(other.vma_), token_(other.token_) {}

VmaRead::~VmaRead() {
  if (space_ != nullptr) space_->unpin_vma(vma_, token_);
}

VmaInfo VmaRead::info() const { return space_->pinned_info(vma_); }

}  // namespace pervma

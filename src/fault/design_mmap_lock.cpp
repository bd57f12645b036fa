// The fault path under the mmap_lock design.
#include "fault/paged_address_space_impl.h"

namespace pervma {

template class PagedAddressSpace<MmapLockDesign>;
template Result<std::unique_ptr<AddressSpace>> make_space<MmapLockDesign>(
    SoftEngine&, const SpaceOptions&) noexcept;
template Result<std::unique_ptr<AddressSpace>> fork_space<MmapLockDesign>(
    SoftEngine&, AddressSpace&, const std::stop_token&) noexcept;

}  // namespace pervma

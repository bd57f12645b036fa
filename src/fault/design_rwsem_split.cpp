// The fault path under the rwsem_split design.
#include "fault/paged_address_space_impl.h"

namespace pervma {

template class PagedAddressSpace<RwsemSplitLock>;
template Result<std::unique_ptr<AddressSpace>> make_space<RwsemSplitLock>(
    SoftEngine&, const SpaceOptions&) noexcept;
template Result<std::unique_ptr<AddressSpace>> fork_space<RwsemSplitLock>(
    SoftEngine&, AddressSpace&, const std::stop_token&) noexcept;

}  // namespace pervma

// The fault path under the rwsem design.
#include "fault/paged_address_space_impl.h"

namespace pervma {

template class PagedAddressSpace<RwsemLock>;
template Result<std::unique_ptr<AddressSpace>> make_space<RwsemLock>(SoftEngine&,
                                                                     const SpaceOptions&) noexcept;
template Result<std::unique_ptr<AddressSpace>> fork_space<RwsemLock>(
    SoftEngine&, AddressSpace&, const std::stop_token&) noexcept;

}  // namespace pervma

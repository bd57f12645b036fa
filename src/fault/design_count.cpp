// The fault path under the count design.
#include "fault/paged_address_space_impl.h"

namespace pervma {

template class PagedAddressSpace<CountLock>;
template Result<std::unique_ptr<AddressSpace>> make_space<CountLock>(SoftEngine&,
                                                                     const SpaceOptions&) noexcept;
template Result<std::unique_ptr<AddressSpace>> fork_space<CountLock>(
    SoftEngine&, AddressSpace&, const std::stop_token&) noexcept;

}  // namespace pervma

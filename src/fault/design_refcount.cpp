// The fault path under the refcount design.
#include "fault/paged_address_space_impl.h"

namespace pervma {

template class PagedAddressSpace<RefcountLock>;
template Result<std::unique_ptr<AddressSpace>> make_space<RefcountLock>(
    SoftEngine&, const SpaceOptions&) noexcept;
template Result<std::unique_ptr<AddressSpace>> fork_space<RefcountLock>(
    SoftEngine&, AddressSpace&, const std::stop_token&) noexcept;

}  // namespace pervma

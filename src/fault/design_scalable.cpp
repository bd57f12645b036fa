// The fault path under the scalable design.
#include "fault/paged_address_space_impl.h"

namespace pervma {

template class PagedAddressSpace<ScalableLock>;
template Result<std::unique_ptr<AddressSpace>> make_space<ScalableLock>(
    SoftEngine&, const SpaceOptions&) noexcept;
template Result<std::unique_ptr<AddressSpace>> fork_space<ScalableLock>(
    SoftEngine&, AddressSpace&, const std::stop_token&) noexcept;

}  // namespace pervma

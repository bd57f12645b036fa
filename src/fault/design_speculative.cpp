// The fault path under the speculative design.
#include "fault/paged_address_space_impl.h"

namespace pervma {

template class PagedAddressSpace<SpeculativeDesign>;
template Result<std::unique_ptr<AddressSpace>> make_space<SpeculativeDesign>(
    SoftEngine&, const SpaceOptions&) noexcept;
template Result<std::unique_ptr<AddressSpace>> fork_space<SpeculativeDesign>(
    SoftEngine&, AddressSpace&, const std::stop_token&) noexcept;

}  // namespace pervma

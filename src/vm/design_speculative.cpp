// The address space under the speculative design.
#include "vm/address_space_impl.h"

namespace pervma {

template class BasicAddressSpace<SpeculativeDesign>;

}  // namespace pervma

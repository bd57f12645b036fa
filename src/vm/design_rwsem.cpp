// The address space under the rwsem design.
#include "vm/address_space_impl.h"

namespace pervma {

template class BasicAddressSpace<RwsemLock>;

}  // namespace pervma

// The address space under the rwsem_split design.
#include "vm/address_space_impl.h"

namespace pervma {

template class BasicAddressSpace<RwsemSplitLock>;

}  // namespace pervma

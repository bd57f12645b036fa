// The address space under the count design.
#include "vm/address_space_impl.h"

namespace pervma {

template class BasicAddressSpace<CountLock>;

}  // namespace pervma

// The address space under the scalable design.
#include "vm/address_space_impl.h"

namespace pervma {

template class BasicAddressSpace<ScalableLock>;

}  // namespace pervma

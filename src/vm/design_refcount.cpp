// The address space under the refcount design.
#include "vm/address_space_impl.h"

namespace pervma {

template class BasicAddressSpace<RefcountLock>;

}  // namespace pervma

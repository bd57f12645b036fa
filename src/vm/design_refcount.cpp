// The address space under the refcount design.
#include "vm/address_space_impl.h"

namespace pervma {

template <>
Design BasicAddressSpace<RefcountLock>::design() const noexcept {
  return Design::refcount;
}

template class BasicAddressSpace<RefcountLock>;

}  // namespace pervma

// The address space under the mmap_lock design.
#include "vm/address_space_impl.h"

namespace pervma {

template <>
Design BasicAddressSpace<MmapLockDesign>::design() const noexcept {
  return Design::mmap_lock;
}

template class BasicAddressSpace<MmapLockDesign>;

}  // namespace pervma

// The address space under the mmap_lock design.
#include "vm/address_space_impl.h"

namespace pervma {

template class BasicAddressSpace<MmapLockDesign>;

}  // namespace pervma

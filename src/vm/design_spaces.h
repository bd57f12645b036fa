// design_spaces.h: the address spaces that design_*.cpp instantiate.
#pragma once

#include "vm/address_space.h"

namespace pervma {

extern template class BasicAddressSpace<MmapLockDesign>;
extern template class BasicAddressSpace<SpeculativeDesign>;
extern template class BasicAddressSpace<RwsemLock>;
extern template class BasicAddressSpace<RwsemSplitLock>;
extern template class BasicAddressSpace<CountLock>;
extern template class BasicAddressSpace<RefcountLock>;
extern template class BasicAddressSpace<ScalableLock>;

}  // namespace pervma

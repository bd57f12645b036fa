#include "tree/maple_tree.h"

#include "tree/maple_tree_impl.h"

namespace pervma {

static_assert(sizeof(MapleLeaf<NativePlatform>) == kLeafBytes);
static_assert(sizeof(MapleInner<NativePlatform>) == kInnerBytes);

template class BasicMapleTree<NativePlatform>;

}  // namespace pervma

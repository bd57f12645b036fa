// designs.h: the one list of lock designs, and the way from a name to its type.
#pragma once

#include <utility>

#include "pervma/design.h"
#include "sync/assert.h"
#include "sync/vma_lock_designs.h"

namespace pervma {

template <VmaLockDesign... Ls>
struct DesignList {
  // Template<...> over all designs, in their order.
  template <template <class...> class Template>
  using Apply = Template<Ls...>;
};
using AllDesigns = DesignList<MmapLockDesign, SpeculativeDesign, RwsemLock, RwsemSplitLock,
                              CountLock, RefcountLock, ScalableLock>;

template <VmaLockDesign L>
struct DesignType {
  using Lock = L;
};

namespace detail {
template <class... Ls>
struct DesignVisitor {
  static_assert(sizeof...(Ls) == kDesigns.size());

  // The first of the list whose name it is.
  template <class Visit, class First, class... Rest>
  static auto visit_among(Design d, Visit& visit) {
    if constexpr (sizeof...(Rest) != 0) {
      if (First::kName != design_name(d)) return visit_among<Visit, Rest...>(d, visit);
    }
    PERVMA_ASSERT(First::kName == design_name(d));
    return visit(DesignType<First>{});
  }
  template <class Visit>
  static auto visit(Design d, Visit& visit) {
    return visit_among<Visit, Ls...>(d, visit);
  }
};
}  // namespace detail

// Calls visit(DesignType<L>{}) with the type of the design.
template <class Visit>
auto with_design(Design d, Visit&& visit) {
  return AllDesigns::Apply<detail::DesignVisitor>::visit(d, visit);
}

template <VmaLockDesign L>
constexpr Design design_of() noexcept {
  return *design_from_name(L::kName);
}

}  // namespace pervma

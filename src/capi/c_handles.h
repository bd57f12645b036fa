// c_handles.h: what the handles of engines and spaces are.
#pragma once

#include <memory>

#include "pervma/c.h"
#include "pervma/pervma.h"

struct pervma_page_store {
  std::shared_ptr<pervma::PageStore> store;
};
struct pervma_engine {
  std::unique_ptr<pervma::Engine> engine;
};
struct pervma_space {
  std::unique_ptr<pervma::AddressSpace> space;
};

namespace pervma::capi {

inline int hand_out_store(Result<std::unique_ptr<PageStore>> made, pervma_page_store** store) {
  if (!made) return static_cast<int>(made.error());
  *store = new pervma_page_store{std::move(*made)};
  return 0;
}

}  // namespace pervma::capi

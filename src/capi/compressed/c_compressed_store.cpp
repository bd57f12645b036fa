// The C function that makes a store of compressed memory: of the library pervma_compressed.
#include "capi/c_common.h"
#include "capi/c_handles.h"

extern "C" int pervma_compressed_store_create(int compression, uint64_t pages, uint64_t bytes,
                                              pervma_page_store** store) {
  using namespace pervma;
  if (store == nullptr || compression < PERVMA_LZ4 || compression > PERVMA_ZSTD) return EINVAL;
  return capi::guarded([&] {
    return capi::hand_out_store(
        make_compressed_store(
            {.compression = compression == PERVMA_ZSTD ? Compression::zstd : Compression::lz4,
             .capacity = PageCount{pages},
             .memory = bytes}),
        store);
  });
}

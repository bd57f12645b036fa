#include <pervma/c.h>
#include <stdio.h>

int main(void) {
  pervma_page_store* store = NULL;
  pervma_engine* engine = NULL;
  pervma_engine_options options = {.size = sizeof options, .frames = 1024};
  if (pervma_compressed_store_create(PERVMA_ZSTD, 1024, 1 << 20, &store) != 0) return 1;
  options.swap = store;
  if (pervma_engine_create(&options, &engine) != 0) return 2;
  pervma_page_store_destroy(store);
  pervma_engine_destroy(engine);
  printf("pervma %s\n", pervma_version());
  return 0;
}

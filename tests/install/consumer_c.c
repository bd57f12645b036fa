#include <pervma/c.h>
#include <stdio.h>

int main(void) {
  int value = 0;
  pervma_range found;
  pervma_range_map* map = NULL;
  if (pervma_c_abi() != PERVMA_C_ABI || pervma_range_map_create(NULL, &map) != 0) return 1;
  if (pervma_range_write_begin(map) != 0) return 2;
  if (pervma_range_insert(map, 1, 9, &value) != 0 || pervma_range_write_end(map) != 0) return 3;
  if (pervma_range_copy(map, 5, &found) != 0 || found.value != &value) return 4;
  pervma_range_map_destroy(map);
  printf("pervma %s\n", pervma_version());
  return 0;
}

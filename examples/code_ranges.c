/* code_ranges.c: an instrumenter's map of code, on the C API.
 *
 * Threads ask for every indirect branch which module and block the target is in. A loader maps and
 * unmaps modules meanwhile: it takes a module's blocks out of the map in one section and waits
 * until nobody stands in them, and only then frees what describes them.
 *
 *   cmake --build build/release --target example_code_ranges && build/release/example_code_ranges
 */
#include <pervma/c.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kModules = 16, kBlocks = 64, kBlockBytes = 64, kThreads = 3, kLookups = 200000, kLoads = 400 };
#define MODULE_STRIDE ((uint64_t)1 << 20)

struct Block {
  uint64_t start;
  unsigned module;
};

static pervma_range_map* code;
static atomic_ullong found;
static atomic_ullong outside;
static atomic_ullong wrong;
static atomic_int blocks_alive;

static uint64_t module_start(unsigned module) { return MODULE_STRIDE * (module + 1); }

static void free_block(void* context, void* block) {
  (void)context;
  free(block);
  atomic_fetch_sub(&blocks_alive, 1);
}

static void must(int error, const char* what) {
  if (error == 0) return;
  fprintf(stderr, "%s: %s\n", what, pervma_error_name(error));
  exit(1);
}

static void load_module(unsigned module) {
  must(pervma_range_write_begin(code), "write");
  must(pervma_range_reserve(code, kBlocks), "reserve");
  for (unsigned i = 0; i < kBlocks; ++i) {
    struct Block* block = malloc(sizeof *block);
    if (block == NULL) exit(1);
    block->start = module_start(module) + (uint64_t)i * kBlockBytes;
    block->module = module;
    atomic_fetch_add(&blocks_alive, 1);
    must(pervma_range_insert(code, block->start, block->start + kBlockBytes, block), "insert");
  }
  /* Readers see all blocks of the module at once. */
  must(pervma_range_write_end(code), "write end");
}

static void unload_module(unsigned module) {
  size_t count = 0;
  must(pervma_range_write_begin(code), "write");
  must(pervma_range_erase_in(code, module_start(module), module_start(module) + MODULE_STRIDE,
                             &count),
       "erase");
  must(pervma_range_write_end(code), "write end");
  if (count != kBlocks) atomic_fetch_add(&wrong, 1);
}

static void* run_code(void* seed) {
  unsigned long long x = (unsigned long long)(uintptr_t)seed * 88172645463325252ULL + 1;
  for (int i = 0; i < kLookups; ++i) {
    pervma_range_guard guard;
    pervma_range block;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    const unsigned module = (unsigned)(x % kModules);
    const uint64_t pc = module_start(module) + (x >> 8) % (kBlocks * kBlockBytes);
    memset(&guard, 0, sizeof guard);
    if (pervma_range_find(code, pc, &guard) != 0) {
      atomic_fetch_add(&outside, 1);
      continue;
    }
    /* The block is not unloaded while the guard holds it. */
    must(pervma_range_guard_get(&guard, &block), "get");
    const struct Block* const held = block.value;
    if (held->module != module || held->start != block.start) atomic_fetch_add(&wrong, 1);
    pervma_range_guard_release(&guard);
    atomic_fetch_add(&found, 1);
  }
  return NULL;
}

int main(void) {
  pthread_t threads[kThreads];
  const pervma_range_map_options options = {
      .size = sizeof options, .reserved = 0, .destroy = free_block, .context = NULL};
  must(pervma_range_map_create(&options, &code), "create");
  for (unsigned m = 0; m < kModules; ++m) load_module(m);
  for (unsigned i = 0; i < kThreads; ++i) {
    must(pthread_create(&threads[i], NULL, run_code, (void*)(uintptr_t)(i + 1)), "thread");
  }
  for (unsigned i = 0; i < kLoads; ++i) {
    unload_module(i % kModules);
    load_module(i % kModules);
  }
  for (unsigned i = 0; i < kThreads; ++i) pthread_join(threads[i], NULL);
  pervma_range_map_destroy(code);
  printf("found %llu, outside %llu, wrong %llu, blocks left %d\n", atomic_load(&found),
         atomic_load(&outside), atomic_load(&wrong), atomic_load(&blocks_alive));
  return atomic_load(&wrong) != 0 || atomic_load(&blocks_alive) != 0;
}

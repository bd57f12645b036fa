/* The C functions of engines and address spaces, from C11. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "pervma/c.h"
#include "tests/capi/expect.h"

enum { kPage = 4096, kMremapMaymove = 1 };

static void a_space_does_what_the_system_calls_do(pervma_engine* engine) {
  const pervma_space_options options = {.size = sizeof options, .design = "refcount"};
  const uint32_t flags = MAP_PRIVATE | MAP_ANONYMOUS;
  pervma_space* space = NULL;
  uint64_t at = 0;
  char sent[6] = "hello";
  char got[6] = "";
  EXPECT(pervma_space_create(engine, &options, &space) == 0);
  EXPECT(pervma_mmap(space, 0, 0, PROT_READ, flags, &at) == EINVAL);
  EXPECT(pervma_mmap(space, 0, 4 * kPage, PROT_READ | PROT_WRITE, flags, &at) == 0);
  EXPECT(pervma_fault(space, at, PERVMA_WRITE) == 0);
  EXPECT(pervma_fault(space, at + 64 * kPage, PERVMA_READ) == EFAULT);
  EXPECT(pervma_store(space, at + kPage - 3, sent, sizeof sent) == 0);
  EXPECT(pervma_load(space, at + kPage - 3, got, sizeof got) == 0);
  EXPECT(memcmp(sent, got, sizeof sent) == 0);
  EXPECT(pervma_mprotect(space, at, kPage, PROT_READ) == 0);
  EXPECT(pervma_store(space, at, sent, 1) == EACCES);
  EXPECT(pervma_madvise(space, at + kPage, kPage, MADV_DONTNEED) == 0);
  EXPECT(pervma_load(space, at + kPage, got, 1) == 0 && got[0] == 0);
  EXPECT(pervma_madvise(space, at, kPage, 12345) == EINVAL);
  EXPECT(pervma_mremap(space, at, kPage, 2 * kPage, 0, 0, &at) == ENOMEM);
  EXPECT(pervma_mremap(space, at + 2 * kPage, 2 * kPage, 8 * kPage, kMremapMaymove, 0, &at) == 0);
  EXPECT(pervma_munmap(space, at, 8 * kPage) == 0);
  EXPECT(pervma_fault(space, at, PERVMA_READ) == EFAULT);
  EXPECT(pervma_munmap(space, at + 1, kPage) == EINVAL);
  pervma_space_destroy(space);
}

static void maps_text_says_its_length(pervma_engine* engine) {
  char text[512];
  size_t length = 0;
  uint64_t at = 0;
  pervma_space* space = NULL;
  EXPECT(pervma_space_create(engine, NULL, &space) == 0);
  EXPECT(pervma_mmap(space, 0x10000, kPage, PROT_READ,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, &at) == 0);
  EXPECT(at == 0x10000);
  EXPECT(pervma_maps(space, NULL, 0, &length) == ERANGE);
  EXPECT(length > 0 && length < sizeof text);
  EXPECT(pervma_maps(space, text, length, &length) == ERANGE);
  EXPECT(pervma_maps(space, text, length + 1, &length) == 0);
  EXPECT(strlen(text) == length);
  EXPECT(strncmp(text, "00010000-00011000 r--p", 22) == 0);
  pervma_space_destroy(space);
}

static void a_fork_has_its_own_pages(pervma_engine* engine) {
  char byte = 'p';
  uint64_t at = 0;
  pervma_space* parent = NULL;
  pervma_space* child = NULL;
  EXPECT(pervma_space_create(engine, NULL, &parent) == 0);
  EXPECT(pervma_mmap(parent, 0, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, &at) ==
         0);
  EXPECT(pervma_store(parent, at, &byte, 1) == 0);
  EXPECT(pervma_space_fork(engine, parent, &child) == 0);
  byte = 'c';
  EXPECT(pervma_store(child, at, &byte, 1) == 0);
  EXPECT(pervma_load(parent, at, &byte, 1) == 0 && byte == 'p');
  EXPECT(pervma_load(child, at, &byte, 1) == 0 && byte == 'c');
  pervma_space_destroy(child);
  pervma_space_destroy(parent);
}

static void a_heap_grows_and_memory_is_locked(pervma_engine* engine) {
  uint64_t now = 0;
  uint64_t at = 0;
  pervma_space* space = NULL;
  EXPECT(pervma_space_create(engine, NULL, &space) == 0);
  EXPECT(pervma_set_brk_start(space, kPage + 1) == EINVAL);
  EXPECT(pervma_set_brk_start(space, 16 * kPage) == 0);
  EXPECT(pervma_brk(space, 0, &now) == 0 && now == 16 * kPage);
  EXPECT(pervma_brk(space, 20 * kPage, &now) == 0 && now == 20 * kPage);
  EXPECT(pervma_fault(space, 19 * kPage, PERVMA_WRITE) == 0);
  EXPECT(pervma_brk(NULL, 0, &now) == EINVAL);
  EXPECT(pervma_mmap(space, 0, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, &at) ==
         0);
  EXPECT(pervma_mlock(space, at, kPage) == 0);
  EXPECT(pervma_madvise(space, at, kPage, MADV_DONTNEED) == EINVAL);
  EXPECT(pervma_munlock(space, at, kPage) == 0);
  EXPECT(pervma_madvise(space, at, kPage, MADV_DONTNEED) == 0);
  EXPECT(pervma_mlock(space, at + kPage, kPage) == ENOMEM);
  EXPECT(pervma_mlock(NULL, at, kPage) == EINVAL);
  pervma_space_destroy(space);
}

static void bad_input_is_einval(pervma_engine* engine) {
  const pervma_space_options unknown = {.size = sizeof unknown, .design = "no such design"};
  pervma_space* space = NULL;
  size_t length = 0;
  EXPECT(pervma_space_create(engine, &unknown, &space) == EINVAL);
  EXPECT(pervma_space_create(NULL, NULL, &space) == EINVAL);
  EXPECT(pervma_space_create(engine, NULL, NULL) == EINVAL);
  EXPECT(pervma_munmap(NULL, 0, kPage) == EINVAL);
  EXPECT(pervma_maps(NULL, NULL, 0, &length) == EINVAL);
  EXPECT(pervma_space_create(engine, NULL, &space) == 0);
  EXPECT(pervma_fault(space, 0, (pervma_access)9) == EINVAL);
  EXPECT(pervma_load(space, 0, NULL, 1) == EINVAL);
  pervma_space_destroy(space);
  pervma_space_destroy(NULL);
  pervma_engine_destroy(NULL);
}

int main(void) {
  const pervma_engine_options options = {.size = sizeof options, .frames = 1024};
  pervma_engine* engine = NULL;
  if (pervma_engine_create(&options, &engine) != 0) return 1;
  a_space_does_what_the_system_calls_do(engine);
  maps_text_says_its_length(engine);
  a_fork_has_its_own_pages(engine);
  a_heap_grows_and_memory_is_locked(engine);
  bad_input_is_einval(engine);
  pervma_engine_destroy(engine);
  if (failures != 0) fprintf(stderr, "%d failures\n", failures);
  return failures != 0;
}

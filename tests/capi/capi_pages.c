/* Engines with a store, files and VMAs that are held, from C11. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pervma/c.h"
#include "tests/capi/expect.h"

enum { kPage = 4096, kPages = 3 };

/* An object of three pages, each full of its number, of which the second cannot be read. */
typedef struct object {
  uint64_t bytes;
  int refuses;
  int writes;
  int destroyed;
  char kept;
} object;

static uint64_t object_size(void* context) { return ((object*)context)->bytes; }
static int object_read(void* context, uint64_t index, void* page) {
  if (index == 1 && ((object*)context)->refuses) return EIO;
  memset(page, '0' + (int)index, kPage);
  return 0;
}
static int object_write(void* context, uint64_t index, const void* page) {
  object* o = context;
  ++o->writes;
  if (index == 0) o->kept = *(const char*)page;
  return 0;
}
static void object_destroy(void* context) { ++((object*)context)->destroyed; }

static void a_file_is_mapped_synced_and_cut(pervma_engine* engine) {
  object o = {.bytes = kPages * kPage, .refuses = 1};
  const pervma_object_options options = {.size = sizeof options,
                                         .vma_lock_safety = PERVMA_OBJECT_AUDITED,
                                         .context = &o,
                                         .get_size = object_size,
                                         .read_page = object_read,
                                         .write_page = object_write,
                                         .destroy = object_destroy,
                                         .name = "/the/object",
                                         .inode = 77};
  pervma_object* handle = NULL;
  pervma_file* file = NULL;
  pervma_space* space = NULL;
  pervma_vma vma = {.size = sizeof vma};
  uint64_t at = 0;
  uint64_t copy = 0;
  char byte = 0;
  char text[1024];
  size_t length = 0;
  EXPECT(pervma_object_create(&options, &handle) == 0);
  EXPECT(pervma_file_open(engine, handle, 7, &file) == EINVAL);
  EXPECT(pervma_file_open(engine, handle, PERVMA_FILE_READ_WRITE, &file) == 0);
  pervma_object_release(handle);
  EXPECT(pervma_space_create(engine, NULL, &space) == 0);
  EXPECT(pervma_mmap_file(space, 0, kPages * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0,
                          &at) == 0);
  EXPECT(pervma_mmap_file(space, 0, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 2 * kPage,
                          &copy) == 0);
  EXPECT(pervma_load(space, at, &byte, 1) == 0 && byte == '0');
  EXPECT(pervma_load(space, at + kPage, &byte, 1) == EIO);
  o.refuses = 0;
  EXPECT(pervma_load(space, at + kPage, &byte, 1) == 0 && byte == '1');
  EXPECT(pervma_load(space, copy, &byte, 1) == 0 && byte == '2');
  byte = 'x';
  EXPECT(pervma_store(space, at, &byte, 1) == 0);
  EXPECT(pervma_store(space, copy, &byte, 1) == 0);
  EXPECT(pervma_load(space, at + 2 * kPage, &byte, 1) == 0 && byte == '2');
  EXPECT(o.writes == 0);
  EXPECT(pervma_msync(space, at, kPages * kPage, MS_SYNC) == 0);
  EXPECT(o.writes == 1 && o.kept == 'x');
  EXPECT(pervma_msync(space, at, kPage, 99) == EINVAL);
  EXPECT(pervma_vma_find(space, copy, &vma) == 0 && vma.page_offset == 2 && vma.inode == 77);
  EXPECT(pervma_maps(space, text, sizeof text, &length) == 0 && strstr(text, "/the/object"));
  o.bytes = kPage;
  EXPECT(pervma_file_truncate(file) == 0);
  EXPECT(pervma_load(space, at, &byte, 1) == 0 && byte == 'x');
  EXPECT(pervma_load(space, at + kPage, &byte, 1) == EIO);
  pervma_file_close(file);
  EXPECT(o.destroyed == 0);
  pervma_space_destroy(space);
  EXPECT(o.destroyed == 1);
}

static void a_file_of_the_host_is_mapped(pervma_engine* engine) {
  char path[] = "/tmp/pervma_capi_XXXXXX";
  const int fd = mkstemp(path);
  pervma_object* object = NULL;
  pervma_file* file = NULL;
  pervma_space* space = NULL;
  uint64_t at = 0;
  char text[3] = "";
  EXPECT(fd >= 0 && write(fd, "pervma", 6) == 6);
  EXPECT(pervma_object_open("/no/such/file", PERVMA_FILE_READ_ONLY, &object) == ENOENT);
  EXPECT(pervma_object_open("/dev/null", PERVMA_FILE_READ_ONLY, &object) == ENODEV);
  EXPECT(pervma_object_open(path, 7, &object) == EINVAL && object == NULL);
  EXPECT(pervma_object_open(path, PERVMA_FILE_READ_WRITE, &object) == 0);
  EXPECT(pervma_file_open(engine, object, PERVMA_FILE_READ_WRITE, &file) == 0);
  pervma_object_release(object);
  EXPECT(pervma_space_create(engine, NULL, &space) == 0);
  EXPECT(pervma_mmap_file(space, 0, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0, &at) == 0);
  EXPECT(pervma_load(space, at + 3, text, 3) == 0 && memcmp(text, "vma", 3) == 0);
  EXPECT(pervma_store(space, at + 4, "MA", 2) == 0);
  EXPECT(pervma_msync(space, at, kPage, MS_SYNC) == 0);
  EXPECT(pread(fd, text, 3, 3) == 3 && memcmp(text, "vMA", 3) == 0);
  pervma_space_destroy(space);
  pervma_file_close(file);
  close(fd);
  unlink(path);
}

static void an_object_without_its_functions_is_einval(pervma_engine* engine) {
  pervma_object_options options = {.size = sizeof options, .get_size = object_size};
  pervma_object* handle = NULL;
  pervma_file* file = NULL;
  uint64_t at = 0;
  EXPECT(pervma_object_create(NULL, &handle) == EINVAL);
  EXPECT(pervma_object_create(&options, &handle) == EINVAL);
  options.read_page = object_read;
  options.vma_lock_safety = 3;
  EXPECT(pervma_object_create(&options, &handle) == EINVAL);
  options.size = 4;
  EXPECT(pervma_object_create(&options, &handle) == EINVAL);
  EXPECT(pervma_file_open(engine, NULL, PERVMA_FILE_READ_ONLY, &file) == EINVAL);
  EXPECT(pervma_mmap_file(NULL, 0, kPage, PROT_READ, MAP_SHARED, NULL, 0, &at) == EINVAL);
  EXPECT(pervma_file_truncate(NULL) == EINVAL);
  EXPECT(pervma_msync(NULL, 0, kPage, MS_SYNC) == EINVAL);
  pervma_object_release(NULL);
  pervma_file_close(NULL);
}

static void a_vma_is_held(pervma_engine* engine) {
  pervma_space* space = NULL;
  pervma_vma_guard guard = {{0}};
  pervma_vma_guard second = {{0}};
  pervma_vma vma = {.size = sizeof vma};
  struct {
    uint32_t size, flags;
    uint64_t start;
    char after;
  } older = {.size = 16, .after = 'a'};
  uint64_t at = 0;
  EXPECT(pervma_space_create(engine, NULL, &space) == 0);
  EXPECT(pervma_mmap(space, 0, 3 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                     &at) == 0);
  EXPECT(pervma_vma_guard_get(&guard, &vma) == EINVAL);
  EXPECT(pervma_vma_try_hold(space, at - kPage, &guard) == EAGAIN);
  EXPECT(pervma_vma_try_hold(space, at + kPage, &guard) == 0);
  EXPECT(pervma_vma_try_hold(space, at + kPage, &guard) == EBUSY);
  EXPECT(pervma_vma_guard_get(&guard, &vma) == 0);
  EXPECT(vma.start == at && vma.end == at + 3 * kPage && vma.inode == 0);
  EXPECT((vma.flags & PERVMA_VMA_READ) && (vma.flags & PERVMA_VMA_WRITE));
  EXPECT(!(vma.flags & (PERVMA_VMA_EXEC | PERVMA_VMA_SHARED)));
  EXPECT(pervma_vma_guard_get(&guard, (pervma_vma*)&older) == 0);
  EXPECT(older.start == at && older.after == 'a');
  EXPECT(pervma_vma_try_hold(space, at, &second) == 0); /* Readers do not shut each other out. */
  pervma_vma_guard_release(&second);
  pervma_vma_guard_release(&guard);
  pervma_vma_guard_release(&guard);
  pervma_vma_guard_release(NULL);
  EXPECT(pervma_munmap(space, at, 3 * kPage) == 0); /* It would wait for a guard that is left. */
  EXPECT(pervma_vma_find(space, at, &vma) == ENOENT);
  EXPECT(pervma_vma_find(space, at, NULL) == EINVAL);
  EXPECT(pervma_vma_try_hold(NULL, at, &guard) == EINVAL);
  pervma_space_destroy(space);
}

/* Twice the memory is written, and read back. */
static void what_is_too_much_goes_to_the_store(void) {
  enum { kFrames = 256, kWritten = 512 };
  char path[] = "/tmp/pervma-capi-XXXXXX";
  pervma_page_store* store = NULL;
  pervma_engine* engine = NULL;
  pervma_space* space = NULL;
  pervma_engine_options options = {.size = sizeof options, .frames = kFrames};
  pervma_engine_stats stats = {.size = sizeof stats};
  uint64_t at = 0;
  uint64_t wrong = 0;
  const int made = mkstemp(path);
  EXPECT(made >= 0);
  EXPECT(pervma_file_store_create("/no/such/folder/at/all", 1024, &store) == ENOENT);
  EXPECT(pervma_file_store_create(path, 1024, &store) == 0);
  options.swap = store;
  EXPECT(pervma_engine_create(&options, &engine) == 0);
  pervma_page_store_destroy(store);
  EXPECT(pervma_space_create(engine, NULL, &space) == 0);
  EXPECT(pervma_mmap(space, 0, (uint64_t)kWritten * kPage, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, &at) == 0);
  for (uint64_t i = 0; i < kWritten; ++i) {
    wrong += pervma_store(space, at + i * kPage, &i, sizeof i) != 0;
  }
  for (uint64_t i = 0; i < kWritten; ++i) {
    uint64_t got = 0;
    wrong += pervma_load(space, at + i * kPage, &got, sizeof got) != 0 || got != i;
  }
  EXPECT(wrong == 0);
  EXPECT(pervma_engine_get_stats(engine, &stats) == 0);
  EXPECT(stats.frames_used > 0 && stats.frames_used <= kFrames);
  EXPECT(stats.swap_out >= kWritten - kFrames && stats.swap_in > 0 && stats.swapped > 0);
  EXPECT(stats.swap_write_errors == 0 && stats.swap_read_errors == 0);
  EXPECT(pervma_engine_get_stats(NULL, &stats) == EINVAL);
  pervma_space_destroy(space);
  pervma_engine_destroy(engine);
  pervma_page_store_destroy(NULL);
  (void)remove(path);
}

static void limits_are_kept(pervma_engine* engine) {
  enum { kMadvCollapse = 25, kHuge = 512 * kPage };
  pervma_space_options options = {.size = sizeof options,
                                  .stack_limit = 8 * kPage,
                                  .address_space_limit = 1100 * kPage,
                                  .memlock_limit = 2 * kPage,
                                  .huge_pages = PERVMA_HUGE_REFUSED};
  const uint64_t stack = 0x7000000;
  pervma_space* space = NULL;
  uint64_t at = 0;
  EXPECT(pervma_space_create(engine, &options, &space) == 0);
  EXPECT(pervma_mmap(space, stack, 2 * kPage, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, &at) == 0);
  EXPECT(pervma_fault(space, stack - 6 * kPage, PERVMA_WRITE) == 0);
  EXPECT(pervma_fault(space, stack - 7 * kPage, PERVMA_WRITE) == EFAULT);
  EXPECT(pervma_mlock(space, stack, 2 * kPage) == 0);
  EXPECT(pervma_mlock(space, stack - kPage, 2 * kPage) == ENOMEM);
  EXPECT(pervma_mmap(space, 0x8000000, 2 * kHuge, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, &at) == 0);
  EXPECT(pervma_mmap(space, 0, 100 * kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, &at) == ENOMEM);
  EXPECT(pervma_store(space, 0x8000000, "x", 1) == 0);
  EXPECT(pervma_madvise(space, 0x8000000, kHuge, kMadvCollapse) == EINVAL);
  pervma_space_destroy(space);
  options.huge_pages = PERVMA_HUGE_ALWAYS + 1;
  EXPECT(pervma_space_create(engine, &options, &space) == EINVAL);
}

int main(void) {
  const pervma_engine_options options = {.size = sizeof options, .frames = 4096, .present = 16};
  pervma_engine* engine = NULL;
  if (pervma_engine_create(&options, &engine) != 0) return 1;
  a_file_is_mapped_synced_and_cut(engine);
  a_file_of_the_host_is_mapped(engine);
  an_object_without_its_functions_is_einval(engine);
  a_vma_is_held(engine);
  limits_are_kept(engine);
  what_is_too_much_goes_to_the_store();
  pervma_engine_destroy(engine);
  return failures == 0 ? 0 : 1;
}

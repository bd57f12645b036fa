/* The C functions of RangeMap, from C11: every call, every error. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pervma/c.h"
#include "tests/capi/expect.h"

static int insert(pervma_range_map* map, uint64_t start, uint64_t end, void* value) {
  int error = pervma_range_write_begin(map);
  if (error != 0) return error;
  error = pervma_range_insert(map, start, end, value);
  EXPECT(pervma_range_write_end(map) == 0);
  return error;
}

static void expect_range(const pervma_range* r, uint64_t start, uint64_t end, const void* value) {
  EXPECT(r->start == start);
  EXPECT(r->end == end);
  EXPECT(r->value == value);
}

static void expect_sound(pervma_range_map* map) {
  char text[256] = "untouched";
  EXPECT(pervma_range_map_check(map, text, sizeof text) == 0);
  EXPECT(text[0] == '\0');
}

static void readers_find_what_writers_insert(void) {
  int a = 1;
  int b = 2;
  pervma_range_map* map = NULL;
  pervma_range_guard guard = {{0}};
  pervma_range r;
  uint64_t at = 0;
  EXPECT(pervma_range_map_create(NULL, &map) == 0);
  EXPECT(pervma_range_find(map, 15, &guard) == ENOENT);
  EXPECT(insert(map, 10, 20, &a) == 0);
  EXPECT(insert(map, 15, 25, &b) == EEXIST);
  EXPECT(insert(map, 5, 5, &b) == EINVAL);
  EXPECT(insert(map, 20, 30, &b) == 0);
  EXPECT(pervma_range_find(map, 15, &guard) == 0);
  EXPECT(pervma_range_guard_get(&guard, &r) == 0);
  expect_range(&r, 10, 20, &a);
  EXPECT(pervma_range_find(map, 25, &guard) == EBUSY);
  EXPECT(pervma_range_try_find(map, 25, &guard) == EBUSY);
  EXPECT(pervma_range_find_next(map, 0, 99, &guard) == EBUSY);
  EXPECT(pervma_range_copy(map, 25, &r) == EDEADLK);
  EXPECT(pervma_range_write_begin(map) == EDEADLK);
  EXPECT(pervma_range_try_copy(map, 25, &r) == 0);
  expect_range(&r, 20, 30, &b);
  {
    pervma_range_guard second = {{0}};
    EXPECT(pervma_range_find(map, 25, &second) == EDEADLK);
    EXPECT(pervma_range_try_find(map, 25, &second) == 0);
    pervma_range_guard_release(&second);
  }
  pervma_range_guard_release(&guard);
  pervma_range_guard_release(&guard);
  EXPECT(pervma_range_guard_get(&guard, &r) == EINVAL);
  EXPECT(pervma_range_copy(map, 25, &r) == 0);
  expect_range(&r, 20, 30, &b);
  EXPECT(pervma_range_find_next(map, 0, 99, &guard) == 0);
  EXPECT(pervma_range_guard_get(&guard, &r) == 0);
  expect_range(&r, 10, 20, &a);
  pervma_range_guard_release(&guard);
  EXPECT(pervma_range_find_next(map, 30, 99, &guard) == ENOENT);
  EXPECT(pervma_range_find_gap(map, 10, 99, 5, PERVMA_GAP_LOWEST, &at) == 0 && at == 30);
  EXPECT(pervma_range_find_gap(map, 10, 99, 5, PERVMA_GAP_HIGHEST, &at) == 0 && at == 94);
  EXPECT(pervma_range_find_gap(map, 10, 99, 5, 7, &at) == EINVAL);
  expect_sound(map);
  pervma_range_map_destroy(map);
}

static void a_section_changes_ranges(void) {
  int v[4] = {0};
  void* old = NULL;
  size_t count = 0;
  pervma_range r;
  pervma_range_map* map = NULL;
  pervma_range_map_stats stats = {.size = sizeof stats};
  EXPECT(pervma_range_map_create(NULL, &map) == 0);
  EXPECT(pervma_range_insert(map, 1, 2, v) == EPERM);
  EXPECT(pervma_range_erase(map, 1) == EPERM);
  EXPECT(pervma_range_write_end(map) == EPERM);
  EXPECT(pervma_range_write_begin(map) == 0);
  EXPECT(pervma_range_write_begin(map) == EDEADLK);
  EXPECT(pervma_range_reserve(map, 10) == 0);
  EXPECT(pervma_range_insert(map, 0, 100, &v[0]) == 0);
  EXPECT(pervma_range_split(map, 50, &v[1]) == 0);
  EXPECT(pervma_range_split(map, 50, &v[1]) == EEXIST);
  EXPECT(pervma_range_change(map, 60, &v[2], &old) == 0 && old == &v[1]);
  EXPECT(pervma_range_peek(map, 60, &r) == 0);
  expect_range(&r, 50, 100, &v[2]);
  EXPECT(pervma_range_peek_next(map, 0, 10, &r) == 0);
  expect_range(&r, 0, 50, &v[0]);
  EXPECT(pervma_range_merge(map, 50) == 0);
  EXPECT(pervma_range_merge(map, 50) == EINVAL);
  EXPECT(pervma_range_peek(map, 60, &r) == 0);
  expect_range(&r, 0, 100, &v[0]);
  EXPECT(pervma_range_insert(map, 200, 300, &v[3]) == 0);
  EXPECT(pervma_range_erase(map, 100) == ENOENT);
  EXPECT(pervma_range_erase(map, UINT64_MAX) == ENOENT);
  EXPECT(pervma_range_erase_in(map, 50, 250, &count) == 0 && count == 2);
  EXPECT(pervma_range_retire(map, 1) == ENOENT);
  EXPECT(pervma_range_write_end(map) == 0);
  EXPECT(pervma_range_map_get_stats(map, &stats) == 0);
  EXPECT(stats.ranges == 0 && stats.retired == 0);
  expect_sound(map);
  pervma_range_map_destroy(map);
}

struct Destroyed {
  int count;
  void* last;
};

static void note(void* context, void* value) {
  struct Destroyed* destroyed = context;
  ++destroyed->count;
  destroyed->last = value;
}

static void* release(void* guard) {
  pervma_range_guard_release(guard);
  return NULL;
}

static void values_are_destroyed_once_when_nobody_looks(void) {
  int v[4] = {0};
  struct Destroyed destroyed = {0, NULL};
  const pervma_range_map_options options = {
      .size = sizeof options, .reserved = 0, .destroy = note, .context = &destroyed};
  pervma_range_map* map = NULL;
  pervma_range_guard guard = {{0}};
  pervma_range_map_stats stats = {.size = sizeof stats};
  pthread_t other;
  EXPECT(pervma_range_map_create(&options, &map) == 0);
  EXPECT(insert(map, 10, 20, &v[0]) == 0);
  EXPECT(insert(map, 15, 20, &v[1]) == EEXIST);
  EXPECT(destroyed.count == 0);
  EXPECT(insert(map, 20, 30, &v[1]) == 0);
  EXPECT(pervma_range_write_begin(map) == 0);
  EXPECT(pervma_range_change(map, 10, &v[2], NULL) == 0);
  EXPECT(destroyed.count == 0);
  EXPECT(pervma_range_write_end(map) == 0);
  EXPECT(destroyed.count == 1 && destroyed.last == &v[0]);
  EXPECT(pervma_range_write_begin(map) == 0);
  EXPECT(pervma_range_merge(map, 20) == 0);
  EXPECT(pervma_range_write_end(map) == 0);
  EXPECT(destroyed.count == 2 && destroyed.last == &v[1]);

  /* Retired under a hold that another thread ends. */
  EXPECT(pervma_range_find(map, 10, &guard) == 0);
  EXPECT(pervma_range_guard_hand_over(&guard) == 0);
  EXPECT(pervma_range_guard_hand_over(&guard) == EINVAL);
  EXPECT(pervma_range_write_begin(map) == 0);
  EXPECT(pervma_range_retire(map, 10) == 0);
  EXPECT(pervma_range_write_end(map) == 0);
  EXPECT(destroyed.count == 2);
  EXPECT(pervma_range_map_get_stats(map, &stats) == 0 && stats.retired == 1);
  EXPECT(pthread_create(&other, NULL, release, &guard) == 0);
  EXPECT(pthread_join(other, NULL) == 0);
  EXPECT(destroyed.count == 3 && destroyed.last == &v[2]);

  EXPECT(insert(map, 1, 2, &v[3]) == 0);
  pervma_range_map_destroy(map);
  EXPECT(destroyed.count == 4 && destroyed.last == &v[3]);
}

static void bad_handles_are_einval(void) {
  pervma_range_map* map = NULL;
  pervma_range_guard guard = {{0}};
  pervma_range r;
  const pervma_range_map_options small = {.size = 4};
  EXPECT(pervma_range_map_create(NULL, NULL) == EINVAL);
  EXPECT(pervma_range_map_create(&small, &map) == EINVAL);
  EXPECT(pervma_range_find(NULL, 1, &guard) == EINVAL);
  EXPECT(pervma_range_copy(NULL, 1, &r) == EINVAL);
  EXPECT(pervma_range_write_begin(NULL) == EINVAL);
  EXPECT(pervma_range_insert(NULL, 1, 2, NULL) == EINVAL);
  EXPECT(pervma_range_map_create(NULL, &map) == 0);
  EXPECT(pervma_range_find(map, 1, NULL) == EINVAL);
  EXPECT(pervma_range_map_get_stats(map, NULL) == EINVAL);
  pervma_range_guard_release(NULL);
  pervma_range_guard_release(&guard);
  pervma_range_map_destroy(map);
  pervma_range_map_destroy(NULL);
}

/* What a program built against a later header passes: more than this library knows. */
static void larger_structs_of_a_later_version_are_taken(void) {
  struct {
    pervma_range_map_options now;
    uint64_t later[4];
  } options = {.now = {.size = sizeof options}};
  pervma_range_map* map = NULL;
  EXPECT(pervma_range_map_create(&options.now, &map) == 0);
  pervma_range_map_destroy(map);
}

struct Writer {
  pervma_range_map* map;
  pthread_barrier_t* stage;
};

/* Changes the range at 10 and stays in its section from one stage to the next. */
static void* stay_in_a_section(void* argument) {
  const struct Writer* writer = argument;
  static int value;
  EXPECT(pervma_range_write_begin(writer->map) == 0);
  EXPECT(pervma_range_change(writer->map, 10, &value, NULL) == 0);
  pthread_barrier_wait(writer->stage);
  pthread_barrier_wait(writer->stage);
  EXPECT(pervma_range_write_end(writer->map) == 0);
  return NULL;
}

static void a_requested_stop_ends_the_waits_of_the_thread_that_uses_it(void) {
  int v = 0;
  pervma_range_map* map = NULL;
  pervma_range_guard guard = {{0}};
  pervma_range r;
  pervma_stop* stop = NULL;
  pthread_t thread;
  pthread_barrier_t stage;
  uint64_t at = 0;
  struct Writer writer;
  EXPECT(pthread_barrier_init(&stage, NULL, 2) == 0);
  EXPECT(pervma_range_map_create(NULL, &map) == 0);
  EXPECT(insert(map, 10, 20, &v) == 0);
  EXPECT(pervma_stop_create(NULL) == EINVAL);
  EXPECT(pervma_stop_create(&stop) == 0);
  writer.map = map;
  writer.stage = &stage;
  EXPECT(pthread_create(&thread, NULL, stay_in_a_section, &writer) == 0);
  pthread_barrier_wait(&stage);
  pervma_stop_request(stop);
  pervma_stop_request(NULL);
  pervma_stop_use(stop);
  EXPECT(pervma_range_find(map, 10, &guard) == EINTR);
  EXPECT(pervma_range_find_next(map, 0, 50, &guard) == EINTR);
  EXPECT(pervma_range_copy(map, 10, &r) == EINTR);
  EXPECT(pervma_range_find_gap(map, 0, 50, 5, PERVMA_GAP_LOWEST, &at) == EINTR);
  EXPECT(pervma_range_write_begin(map) == EINTR);
  pervma_stop_use(NULL);
  pthread_barrier_wait(&stage);
  EXPECT(pervma_range_find(map, 10, &guard) == 0);
  pervma_range_guard_release(&guard);
  EXPECT(pthread_join(thread, NULL) == 0);
  expect_sound(map);
  pervma_stop_destroy(stop);
  pervma_stop_destroy(NULL);
  pervma_range_map_destroy(map);
  pthread_barrier_destroy(&stage);
}

static void a_load_puts_in_all_or_none(void) {
  int v[3] = {0};
  const pervma_range good[3] = {{0, 10, &v[0]}, {10, 20, &v[1]}, {30, 40, &v[2]}};
  const pervma_range more[2] = {{50, 60, &v[0]}, {70, 80, &v[1]}};
  const pervma_range over[2] = {{100, 110, &v[0]}, {109, 120, &v[1]}};
  const pervma_range over_old[2] = {{20, 30, &v[0]}, {35, 36, &v[1]}};
  const pervma_range back[2] = {{110, 120, &v[0]}, {100, 105, &v[1]}};
  const pervma_range empty[1] = {{100, 100, &v[0]}};
  pervma_range_map* map = NULL;
  pervma_range r;
  pervma_range_map_stats stats = {.size = sizeof stats};
  EXPECT(pervma_range_map_create(NULL, &map) == 0);
  EXPECT(pervma_range_load(map, good, 3) == EPERM);
  EXPECT(pervma_range_write_begin(map) == 0);
  EXPECT(pervma_range_load(map, NULL, 1) == EINVAL);
  EXPECT(pervma_range_load(map, NULL, 0) == 0);
  EXPECT(pervma_range_load(map, good, 3) == 0);
  EXPECT(pervma_range_load(map, more, 2) == 0);
  EXPECT(pervma_range_load(map, over, 2) == EEXIST);
  EXPECT(pervma_range_load(map, over_old, 2) == EEXIST);
  EXPECT(pervma_range_load(map, back, 2) == EINVAL);
  EXPECT(pervma_range_load(map, empty, 1) == EINVAL);
  EXPECT(pervma_range_write_end(map) == 0);
  EXPECT(pervma_range_map_get_stats(map, &stats) == 0 && stats.ranges == 5);
  EXPECT(pervma_range_copy(map, 35, &r) == 0);
  expect_range(&r, 30, 40, &v[2]);
  EXPECT(pervma_range_copy(map, 75, &r) == 0);
  expect_range(&r, 70, 80, &v[1]);
  expect_sound(map);
  pervma_range_map_destroy(map);
}

int main(void) {
  EXPECT(pervma_c_abi() == PERVMA_C_ABI);
  EXPECT(strcmp(pervma_error_name(ENOMEM), "ENOMEM") == 0);
  EXPECT(pervma_error_name(-5)[0] != '\0');
  EXPECT(pervma_version()[0] != '\0');
  readers_find_what_writers_insert();
  a_section_changes_ranges();
  values_are_destroyed_once_when_nobody_looks();
  bad_handles_are_einval();
  larger_structs_of_a_later_version_are_taken();
  a_requested_stop_ends_the_waits_of_the_thread_that_uses_it();
  a_load_puts_in_all_or_none();
  if (failures != 0) fprintf(stderr, "%d failures\n", failures);
  return failures != 0;
}

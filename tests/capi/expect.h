/* expect.h: what the C tests check with: a line for each thing that is not so; main() returns
 * failures != 0. */
#ifndef PERVMA_TESTS_CAPI_EXPECT_H
#define PERVMA_TESTS_CAPI_EXPECT_H

#include <stdio.h>

static int failures = 0;

#define EXPECT(condition)                                             \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                     \
    }                                                                 \
  } while (0)

#endif

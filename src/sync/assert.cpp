#include "sync/assert.h"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>

namespace pervma::detail {

void assert_fail(const char* file, int line, const char* text) noexcept {
  std::fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, text);
  std::abort();
}

void assert_fail_values(const char* file, int line, const char* text, uint64_t lhs,
                        uint64_t rhs) noexcept {
  std::fprintf(stderr,
               "%s:%d: assertion failed: %s (0x%" PRIx64 " vs 0x%" PRIx64 ", %" PRIu64
               " vs %" PRIu64 ")\n",
               file, line, text, lhs, rhs, lhs, rhs);
  std::abort();
}

}  // namespace pervma::detail

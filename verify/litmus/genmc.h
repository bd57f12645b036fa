// For a checker that has functions of its own for threads and assertions.
#include <assert.h>
#include <pthread.h>
extern "C" {
int __VERIFIER_thread_create(const void*, void* (*)(void*), void*);
void* __VERIFIER_thread_join(int);
void __VERIFIER_assert_fail(const char*, const char*, int);
void __assert_fail(const char* what, const char* file, unsigned line, const char*) noexcept {
  __VERIFIER_assert_fail(what, file, static_cast<int>(line));
  __builtin_unreachable();
}
}
static inline int checked_create(pthread_t* t, const void*, void* (*run)(void*), void* arg) {
  *t = static_cast<pthread_t>(__VERIFIER_thread_create(nullptr, run, arg));
  return 0;
}
static inline int checked_join(pthread_t t, void**) {
  (void)__VERIFIER_thread_join(static_cast<int>(t));
  return 0;
}
#define pthread_create checked_create
#define pthread_join checked_join

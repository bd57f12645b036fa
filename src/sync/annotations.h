// annotations.h: clang's thread-safety attributes under the names pervma uses; empty elsewhere.
// CI builds with clang 19, -Wthread-safety -Werror. Opt-outs (NO_ANALYSIS) only in src/sync.
#pragma once

#if defined(__clang__)
#define PERVMA_TS(x) __attribute__((x))
#else
#define PERVMA_TS(x)
#endif

#define PERVMA_CAPABILITY(name) PERVMA_TS(capability(name))
#define PERVMA_SCOPED_CAPABILITY PERVMA_TS(scoped_lockable)
#define PERVMA_GUARDED_BY(x) PERVMA_TS(guarded_by(x))
#define PERVMA_REQUIRES(...) PERVMA_TS(requires_capability(__VA_ARGS__))
#define PERVMA_REQUIRES_SHARED(...) PERVMA_TS(requires_shared_capability(__VA_ARGS__))
#define PERVMA_ACQUIRE(...) PERVMA_TS(acquire_capability(__VA_ARGS__))
#define PERVMA_ACQUIRE_SHARED(...) PERVMA_TS(acquire_shared_capability(__VA_ARGS__))
#define PERVMA_RELEASE(...) PERVMA_TS(release_capability(__VA_ARGS__))
#define PERVMA_RELEASE_SHARED(...) PERVMA_TS(release_shared_capability(__VA_ARGS__))
#define PERVMA_RELEASE_GENERIC(...) PERVMA_TS(release_generic_capability(__VA_ARGS__))
#define PERVMA_TRY_ACQUIRE(...) PERVMA_TS(try_acquire_capability(__VA_ARGS__))
#define PERVMA_TRY_ACQUIRE_SHARED(...) PERVMA_TS(try_acquire_shared_capability(__VA_ARGS__))
#define PERVMA_EXCLUDES(...) PERVMA_TS(locks_excluded(__VA_ARGS__))
#define PERVMA_ASSERT_CAPABILITY(x) PERVMA_TS(assert_capability(x))
#define PERVMA_ASSERT_SHARED_CAPABILITY(x) PERVMA_TS(assert_shared_capability(x))
#define PERVMA_RETURN_CAPABILITY(x) PERVMA_TS(lock_returned(x))
#define PERVMA_NO_ANALYSIS PERVMA_TS(no_thread_safety_analysis)

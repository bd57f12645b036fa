// rcu.h: read-copy-update, from liburcu's bulletproof flavour: any thread may read, none registers.
//
// Inside a read section nothing that was reachable when it began is freed. Sections nest, never
// block, and never wait for a lock: whoever waits for a grace period may hold an mmap lock.
//
// liburcu is not instrumented, so ThreadSanitizer cannot see its promise. The guard states it: the
// end of a read section releases, the end of a grace period and the start of a callback acquire.
// One address stands for all sections, so TSan also orders sections that began after the grace
// period did; that can hide a race, never invent one.
#pragma once

// The inline read side (1.6-2.3 ns a pair against 14-17 ns out of line, in which the address of the
// thread-local dominates). `__thread` instead of thread_local spares C++'s initialisation wrapper
// around a C variable that has no initialiser: 1.6 against 4.9 ns with g++.
#define _LGPL_SOURCE
#include <urcu/config.h>
#include <urcu/tls-compat.h>
#ifdef CONFIG_RCU_TLS
#undef URCU_TLS_STORAGE_CLASS
#define URCU_TLS_STORAGE_CLASS __thread
#endif
#include <urcu/urcu-bp.h>  // Unlike <urcu-bp.h>, leaves no short names behind as macros.

#if defined(__SANITIZE_THREAD__)
#define PERVMA_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PERVMA_TSAN 1
#endif
#endif

#if defined(PERVMA_TSAN)
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
extern "C" void __tsan_ignore_thread_begin();
extern "C" void __tsan_ignore_thread_end();
#endif

namespace pervma {

namespace detail {
#if defined(PERVMA_TSAN)
inline void tsan_acquire(const void* address) noexcept {
  __tsan_acquire(const_cast<void*>(address));
}
inline void tsan_release(const void* address) noexcept {
  __tsan_release(const_cast<void*>(address));
}
#else
inline void tsan_acquire(const void*) noexcept {}
inline void tsan_release(const void*) noexcept {}
#endif
// Stands for "all read sections so far": liburcu's own grace-period counter, which is as global.
inline const void* tsan_rcu_address() noexcept { return &urcu_bp_gp; }
}  // namespace detail

// A read section, for as long as the guard lives. Wait-free, about 2 ns for both ends; a thread's
// first section registers it (a lock and an allocation inside liburcu). Ends on the thread it
// began.
class [[nodiscard]] RcuReader {
 public:
  RcuReader() noexcept { _urcu_bp_read_lock(); }
  ~RcuReader() {
    detail::tsan_release(detail::tsan_rcu_address());
    _urcu_bp_read_unlock();
  }
  RcuReader(const RcuReader&) = delete;
  RcuReader& operator=(const RcuReader&) = delete;
};

// Whether this thread is in a read section.
[[nodiscard]] inline bool rcu_is_reading() noexcept { return _urcu_bp_read_ongoing() != 0; }

// Waits until every read section that is open now has ended. Not inside a read section.
void rcu_synchronize() noexcept;

// Has `callback` run on liburcu's thread after a grace period. `head` is liburcu's until then. What
// this thread wrote before is visible to the callback (TSan: its tsan_acquire(head)).
inline void call_rcu(rcu_head* head, void (*callback)(rcu_head* head)) noexcept {
  detail::tsan_release(head);
  urcu_bp_call_rcu(head, callback);
}

// At the start of a callback: states to TSan that it comes after call_rcu() and the grace period.
inline void rcu_callback_begins(const rcu_head* head) noexcept {
  detail::tsan_acquire(head);
  detail::tsan_acquire(detail::tsan_rcu_address());
}
// At its end: that rcu_barrier() comes after it. `head` may be freed by then.
inline void rcu_callback_ends() noexcept { detail::tsan_release(detail::tsan_rcu_address()); }

// Waits until every callback queued before this call has run. Not inside a read section.
void rcu_barrier() noexcept;

}  // namespace pervma

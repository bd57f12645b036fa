#include "sync/rcu.h"

#include "sync/assert.h"

namespace pervma {

void rcu_synchronize() noexcept {
  PERVMA_ASSERT(!rcu_is_reading());  // It would wait for itself.
  urcu_bp_synchronize_rcu();
  detail::tsan_acquire(detail::tsan_rcu_address());
}

void rcu_barrier() noexcept {
  PERVMA_ASSERT(!rcu_is_reading());
#if defined(PERVMA_TSAN)
  // liburcu allocates a completion here and frees it on its callback thread; TSan sees the two
  // allocator calls but not the count in between. Nothing of ours is touched in there.
  __tsan_ignore_thread_begin();
  urcu_bp_barrier();
  __tsan_ignore_thread_end();
#else
  urcu_bp_barrier();
#endif
  detail::tsan_acquire(detail::tsan_rcu_address());
}

}  // namespace pervma

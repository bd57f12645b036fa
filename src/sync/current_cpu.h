// current_cpu.h: which CPU this thread runs on. A hint: the thread may be moved at any moment, so a
// wrong answer may cost speed and nothing else.
#pragma once

#include <sched.h>

#include <cstdint>

#if __has_include(<sys/rseq.h>) && __has_builtin(__builtin_thread_pointer)
#include <sys/rseq.h>
#define PERVMA_HAS_RSEQ 1
#endif

namespace pervma {

// About 0.5 ns where glibc has registered the thread's rseq area (the kernel keeps the number
// there), else about 2 ns.
inline uint32_t current_cpu() noexcept {
#if defined(PERVMA_HAS_RSEQ)
  if (__rseq_size != 0) [[likely]] {
    const auto* area = reinterpret_cast<const volatile struct rseq*>(
        static_cast<const char*>(__builtin_thread_pointer()) + __rseq_offset);
    const uint32_t cpu = area->cpu_id;
    if (static_cast<int32_t>(cpu) >= 0) [[likely]]
      return cpu;
  }
#endif
  const int cpu = sched_getcpu();
  return cpu < 0 ? 0 : static_cast<uint32_t>(cpu);
}

// A power of two, at least 1: the number of CPUs of the system, rounded up, and no more than 64.
uint32_t cpu_slots() noexcept;

}  // namespace pervma

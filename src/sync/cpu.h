// cpu.h: the only place for instructions of one processor. Every function has a portable fallback,
// so that other 64-bit little-endian machines compile and stay right by the C++ memory model.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <x86intrin.h>
#elif !defined(__aarch64__)
#include <chrono>
#endif

namespace pervma {

// The size that keeps two hot words from sharing a cache line.
inline constexpr unsigned kCacheLine = 64;

// Tells the core that this thread polls memory: saves power and the pipeline flush at the end.
inline void cpu_relax() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#else
  asm volatile("" ::: "memory");
#endif
}

// Fetches the line into this core as one to be written, without waiting. Any address will do.
inline void prefetch_for_write(const volatile void* address) noexcept {
#if defined(__x86_64__)
  // The builtin means this instruction only where the compiler is told that there is one; a
  // processor without it does nothing.
  asm volatile("prefetchw %0" : : "m"(*static_cast<const volatile char*>(address)));
#else
  __builtin_prefetch(const_cast<const void*>(address), 1);
#endif
}

// A counter of constant rate, to time short operations between begin and end: what comes after the
// first does not start before it is read, what comes before the second has been done.
inline uint64_t cpu_ticks_begin() noexcept {
#if defined(__x86_64__)
  _mm_lfence();
  const uint64_t t = __rdtsc();
  _mm_lfence();
  return t;
#elif defined(__aarch64__)
  uint64_t t = 0;
  asm volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(t)::"memory");
  return t;
#else
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}
inline uint64_t cpu_ticks_end() noexcept {
#if defined(__x86_64__)
  unsigned cpu = 0;
  const uint64_t t = __rdtscp(&cpu);
  _mm_lfence();
  return t;
#else
  return cpu_ticks_begin();
#endif
}

}  // namespace pervma

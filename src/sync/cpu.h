// cpu.h: the only place for instructions of one processor. Every function has a portable fallback,
// so that other 64-bit little-endian machines compile and stay right by the C++ memory model.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
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

}  // namespace pervma

// node_search.h: the search within a node, eight or four pivots at a time where the processor can.
//
// Chosen at run time (AVX-512, else AVX2, with popcnt; asked once); not under a sanitizer that has
// to see each load of the pivots, nor on a platform of a checker's or a test's: those take the
// loops of maple_protocol.h, which are what is verified.
//
// Why a vector load may read pivots that a writer changes. It counts on two properties that a
// loop's acquire loads have: each pivot is read whole, and the slot it selects is read afterwards.
//   whole   every lane is an aligned 8-byte word in one cache line, and x86 processors with AVX
//           read such a word of a vector load in one piece: they move 16 bytes at least at a time
//   order   x86 does not reorder loads, vector loads included, and the compiler cannot: the load is
//           volatile assembly, and the slot's address depends on its result
// Pivots of one node may be of different moments, as in the loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "sync/platform.h"

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#if defined(__has_feature)
#if !__has_feature(thread_sanitizer)
#define PERVMA_VECTOR_SEARCH 1
#endif
#else
#define PERVMA_VECTOR_SEARCH 1
#endif
#endif

namespace pervma {

template <class P>
struct MapleLeaf;
template <class P>
struct MapleInner;

namespace detail {

#if defined(PERVMA_VECTOR_SEARCH)
template <class P>
inline constexpr bool kMayVectorSearch = std::is_same_v<P, NativePlatform>;
#else
template <class P>
inline constexpr bool kMayVectorSearch = false;
#endif

enum class VectorSearch : uint8_t { none, avx2, avx512 };

// Defined where kMayVectorSearch can be true, and named elsewhere too: templates look them up.
// Set before main() runs; none until then, which is as right.
extern VectorSearch vector_search;

// Those below: not where it is none.

void* vector_load(uint64_t root, uint64_t index) noexcept;
unsigned vector_leaf_slot(const MapleLeaf<NativePlatform>& leaf, uint64_t index) noexcept;
unsigned vector_inner_slot(const MapleInner<NativePlatform>& inner, uint64_t index) noexcept;

}  // namespace detail
}  // namespace pervma

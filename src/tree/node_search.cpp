#include "tree/node_search.h"

#if defined(PERVMA_VECTOR_SEARCH)

#include <immintrin.h>

#include <limits>

#include "sync/native_platform.h"
#include "tree/maple_node.h"

#define PERVMA_AVX2 __attribute__((target("avx2,popcnt")))

namespace pervma::detail {

bool vector_search = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");

namespace {

using Leaf = MapleLeaf<NativePlatform>;
using Inner = MapleInner<NativePlatform>;
using Protocol = MapleProtocol<NativePlatform>;

// Nodes begin with their head, then the pivots: sixteen words in four vectors are a leaf's, and
// twenty-one, the last of them in a sixth vector, an inner node's.
static_assert(offsetof(Leaf, pivots) == 8 && kLeafSlots == 16);
static_assert(offsetof(Inner, pivots) == 8 && kInnerSlots == 21);

// Vectors compare signed words: with the top bit turned over their order is the unsigned one. A
// lane that is no pivot is compared with the least value there is, and never counts.
constexpr long long kTop = std::numeric_limits<long long>::min();

struct Sought {
  __m256i all;
  __m256i behind_head;  // not the first lane
  __m256i first_only;   // only the first lane
};

PERVMA_AVX2 inline Sought sought(uint64_t index) noexcept {
  const __m256i all = _mm256_set1_epi64x(static_cast<long long>(index) ^ kTop);
  const __m256i least = _mm256_set1_epi64x(kTop);
  return {all, _mm256_blend_epi32(all, least, 0x03), _mm256_blend_epi32(all, least, 0xfc)};
}

// All ones in each lane whose pivot lies below.
PERVMA_AVX2 inline __m256i below(const void* node, size_t vector, __m256i index) noexcept {
  const auto* const from = static_cast<const __m256i*>(node) + vector;
  __m256i pivots;
  asm volatile("vmovdqa %1, %0" : "=x"(pivots) : "m"(*from));
  return _mm256_cmpgt_epi64(index, _mm256_xor_si256(pivots, _mm256_set1_epi64x(kTop)));
}

// How many lanes of two vectors that hold halves of lanes are ones: two bytes stand for a lane.
PERVMA_AVX2 inline unsigned lanes(__m256i a, __m256i b) noexcept {
  const auto bytes = static_cast<unsigned>(_mm256_movemask_epi8(_mm256_packs_epi16(a, b)));
  return static_cast<unsigned>(_mm_popcnt_u32(bytes)) / 2;
}

PERVMA_AVX2 inline unsigned leaf_slot(const void* leaf, const Sought& index) noexcept {
  const __m256i front =
      _mm256_packs_epi32(below(leaf, 0, index.behind_head), below(leaf, 1, index.all));
  const __m256i back = _mm256_packs_epi32(below(leaf, 2, index.all), below(leaf, 3, index.all));
  return lanes(front, back);
}

PERVMA_AVX2 inline unsigned inner_slot(const void* inner, const Sought& index) noexcept {
  const __m256i front =
      _mm256_packs_epi32(below(inner, 0, index.behind_head), below(inner, 1, index.all));
  const __m256i middle = _mm256_packs_epi32(below(inner, 2, index.all), below(inner, 3, index.all));
  const __m256i back =
      _mm256_packs_epi32(below(inner, 4, index.all), below(inner, 5, index.first_only));
  return lanes(front, middle) + lanes(back, _mm256_setzero_si256());
}

}  // namespace

PERVMA_AVX2 void* vector_load(uint64_t root, uint64_t index) noexcept {
  MapleRef<NativePlatform> node(root);
  const Sought by = sought(index);
  while (!node.is_leaf()) {
    const Inner* const inner = node.inner();
    inner->prefetch_slots();
    node = MapleRef<NativePlatform>(Protocol::child(inner->slots[inner_slot(inner, by)]));
  }
  const Leaf* const leaf = node.leaf();
  leaf->prefetch_slots();
  return reinterpret_cast<void*>(Protocol::entry(leaf->slots[leaf_slot(leaf, by)]));
}

PERVMA_AVX2 unsigned vector_leaf_slot(const Leaf& leaf, uint64_t index) noexcept {
  return leaf_slot(&leaf, sought(index));
}

PERVMA_AVX2 unsigned vector_inner_slot(const Inner& inner, uint64_t index) noexcept {
  return inner_slot(&inner, sought(index));
}

}  // namespace pervma::detail

#endif

#include "tree/node_search.h"

#if defined(PERVMA_VECTOR_SEARCH)

#include <immintrin.h>

#include <limits>

#include "sync/native_platform.h"
#include "tree/maple_node.h"

#define PERVMA_AVX2 __attribute__((target("avx2,popcnt")))
#define PERVMA_AVX512 __attribute__((target("avx512f,avx512dq,popcnt")))

namespace pervma::detail {

namespace {

using Leaf = MapleLeaf<NativePlatform>;
using Inner = MapleInner<NativePlatform>;
using Ref = MapleRef<NativePlatform>;
using Protocol = MapleProtocol<NativePlatform>;

// Nodes begin with their head, then the pivots: sixteen words are a leaf's, and thirty-one an inner
// node's, whose first child is the thirty-second.
static_assert(offsetof(Leaf, pivots) == 8 && kLeafSlots == 16);
static_assert(offsetof(Inner, pivots) == 8 && kInnerSlots == 31);

VectorSearch best() noexcept {
  if (!__builtin_cpu_supports("popcnt")) return VectorSearch::none;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
    return VectorSearch::avx512;
  }
  return __builtin_cpu_supports("avx2") ? VectorSearch::avx2 : VectorSearch::none;
}

// A way to search: sought(index), and the slot in a leaf or an inner node.
namespace avx2 {

// Vectors compare signed words: with the top bit turned over their order is the unsigned one. A
// lane that is no pivot is compared with the least value there is, and never counts.
constexpr long long kTop = std::numeric_limits<long long>::min();

struct Sought {
  __m256i all;
  __m256i behind_head;   // not the first lane
  __m256i before_child;  // not the last lane
};

PERVMA_AVX2 inline Sought sought(uint64_t index) noexcept {
  const __m256i all = _mm256_set1_epi64x(static_cast<long long>(index) ^ kTop);
  const __m256i least = _mm256_set1_epi64x(kTop);
  return {all, _mm256_blend_epi32(all, least, 0x03), _mm256_blend_epi32(all, least, 0xc0)};
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

// The first sixteen words, head and pivots.
PERVMA_AVX2 inline unsigned front(const void* node, const Sought& index) noexcept {
  return lanes(_mm256_packs_epi32(below(node, 0, index.behind_head), below(node, 1, index.all)),
               _mm256_packs_epi32(below(node, 2, index.all), below(node, 3, index.all)));
}

PERVMA_AVX2 inline unsigned slot_of(const Leaf& leaf, const Sought& index) noexcept {
  return front(&leaf, index);
}

PERVMA_AVX2 inline unsigned slot_of(const Inner& inner, const Sought& index) noexcept {
  const unsigned back =
      lanes(_mm256_packs_epi32(below(&inner, 4, index.all), below(&inner, 5, index.all)),
            _mm256_packs_epi32(below(&inner, 6, index.all), below(&inner, 7, index.before_child)));
  return front(&inner, index) + back;
}

PERVMA_AVX2 void* load(uint64_t root, uint64_t index) noexcept {
  Ref node(root);
  const Sought by = sought(index);
  while (!node.is_leaf()) {
    const Inner* const inner = node.inner();
    inner->prefetch_slots();
    node = Ref(Protocol::child(inner->slots[slot_of(*inner, by)]));
  }
  const Leaf* const leaf = node.leaf();
  leaf->prefetch_slots();
  return reinterpret_cast<void*>(Protocol::entry(leaf->slots[slot_of(*leaf, by)]));
}

}  // namespace avx2

// A vector is a line, compared unsigned and answered in bits.
namespace avx512 {

constexpr unsigned kAll = 0xff;
constexpr unsigned kBehindHead = 0xfe;
constexpr unsigned kBeforeChild = 0x7f;

// A bit for each of the lanes whose pivot lies below.
PERVMA_AVX512 inline unsigned below(const void* node, size_t vector, __m512i index,
                                    unsigned lanes) noexcept {
  const auto* const from = static_cast<const __m512i*>(node) + vector;
  __m512i pivots;
  asm volatile("vmovdqa64 %1, %0" : "=v"(pivots) : "m"(*from));
  return _cvtmask8_u32(_mm512_mask_cmplt_epu64_mask(static_cast<__mmask8>(lanes), pivots, index));
}

PERVMA_AVX512 inline unsigned slot_of(const Leaf& leaf, __m512i index) noexcept {
  const unsigned bits = below(&leaf, 0, index, kBehindHead) | below(&leaf, 1, index, kAll) << 8;
  return static_cast<unsigned>(_mm_popcnt_u32(bits));
}

PERVMA_AVX512 inline unsigned slot_of(const Inner& inner, __m512i index) noexcept {
  const unsigned front = below(&inner, 0, index, kBehindHead) | below(&inner, 1, index, kAll) << 8;
  const unsigned back = below(&inner, 2, index, kAll) | below(&inner, 3, index, kBeforeChild) << 8;
  return static_cast<unsigned>(_mm_popcnt_u32(front) + _mm_popcnt_u32(back));
}

PERVMA_AVX512 inline __m512i sought(uint64_t index) noexcept {
  return _mm512_set1_epi64(static_cast<long long>(index));
}

PERVMA_AVX512 void* load(uint64_t root, uint64_t index) noexcept {
  Ref node(root);
  const __m512i by = sought(index);
  while (!node.is_leaf()) {
    const Inner* const inner = node.inner();
    inner->prefetch_slots();
    node = Ref(Protocol::child(inner->slots[slot_of(*inner, by)]));
  }
  const Leaf* const leaf = node.leaf();
  leaf->prefetch_slots();
  return reinterpret_cast<void*>(Protocol::entry(leaf->slots[slot_of(*leaf, by)]));
}

}  // namespace avx512

// Of a whole function each, for the two ways.
PERVMA_AVX2 unsigned slot_by_avx2(const auto& node, uint64_t index) noexcept {
  return avx2::slot_of(node, avx2::sought(index));
}
PERVMA_AVX512 unsigned slot_by_avx512(const auto& node, uint64_t index) noexcept {
  return avx512::slot_of(node, avx512::sought(index));
}

}  // namespace

VectorSearch vector_search = best();

void* vector_load(uint64_t root, uint64_t index) noexcept {
  return vector_search == VectorSearch::avx512 ? avx512::load(root, index)
                                               : avx2::load(root, index);
}

unsigned vector_leaf_slot(const Leaf& leaf, uint64_t index) noexcept {
  return vector_search == VectorSearch::avx512 ? slot_by_avx512(leaf, index)
                                               : slot_by_avx2(leaf, index);
}

unsigned vector_inner_slot(const Inner& inner, uint64_t index) noexcept {
  return vector_search == VectorSearch::avx512 ? slot_by_avx512(inner, index)
                                               : slot_by_avx2(inner, index);
}

}  // namespace pervma::detail

#endif

// lookup.h: the ways from an address to a VMA.
#pragma once

#include <cstring>

#include "sync/probes.h"
#include "vm/address_space.h"

namespace pervma {

template <VmaLockDesign L>
inline auto BasicAddressSpace<L>::vma_at(Address a) const noexcept -> VmaT* {
  return static_cast<VmaT*>(tree_.load(a.value));
}

template <VmaLockDesign L>
auto BasicAddressSpace<L>::vma_from(Address a) const noexcept -> VmaT* {
  MapleTree::Cursor cursor(tree_, a.value);
  return static_cast<VmaT*>(cursor.find(a.value, kLastIndex));
}

// The fast path of every fault. The tree's answer is a hint: the lock makes the VMA stay, its
// bounds tell whether it is the right one (read only now: rule R14).
template <VmaLockDesign L>
[[gnu::always_inline]] inline auto BasicAddressSpace<L>::look_once(Address a) const noexcept
    -> Lookup {
  const auto aborted = [&] {
    PERVMA_PROBE(vma_abort, this, a.value);
    return Lookup{LookupEnd::aborted, 0, nullptr, {}};
  };
  VmaT* const v = vma_at(a);  // A fresh walk each time (rule R17).
  if (v == nullptr) return aborted();
  const auto attempt = L::begin_read(v->near, v->far, mm_);
  if (attempt.outcome == ReadTry::contended) return aborted();
  if (attempt.outcome == ReadTry::detached) {
    PERVMA_PROBE(vma_miss, this, a.value);
    return {LookupEnd::missed, 0, nullptr, {}};
  }
  if (!v->range.contains(a)) {
    L::end_read(v->far, attempt.token);
    return aborted();
  }
  return {LookupEnd::locked, 0, v, attempt.token};
}

template <VmaLockDesign L>
inline auto BasicAddressSpace<L>::lock_vma_under_rcu(Address a) const noexcept -> Lookup {
  if constexpr (!kLocksVmas<L>) return {LookupEnd::aborted, 0, nullptr, {}};
  const RcuReader rcu;
  Lookup found = look_once(a);
  if (found.end == LookupEnd::missed) [[unlikely]]
    found = look_again(a);
  return found;
}

// A detached VMA stays in the tree for a moment: twice, then the mmap lock decides. Out of line:
// what a loop keeps in registers would cost every fault.
template <VmaLockDesign L>
[[gnu::noinline, gnu::cold]] auto BasicAddressSpace<L>::look_again(Address a) const noexcept
    -> Lookup {
  for (uint8_t misses = 1;; ++misses) {
    Lookup found = look_once(a);
    const bool missed = found.end == LookupEnd::missed;
    found.misses = misses;
    if (!missed) return found;
    if (misses == kMaxMisses) {
      PERVMA_PROBE(vma_abort, this, a.value);
      found.end = LookupEnd::aborted;
      return found;
    }
  }
}

// A gap is believed only when no writer was in between: one VMA may have shrunk and another
// appeared (rule R20).
template <VmaLockDesign L>
auto BasicAddressSpace<L>::lock_next_vma(Address from, Address limit) const noexcept -> NextVma
  requires(kLocksVmas<L>)
{
  {
    const RcuReader rcu;
    if (const std::optional<uint64_t> seq = mm_.speculate_try_begin()) {
      VmaT* const v = vma_from(from);
      if (v == nullptr) {
        if (!mm_.speculate_retry(*seq)) return {nullptr, {}};
      } else {
        const auto attempt = L::begin_read(v->near, v->far, mm_);
        if (attempt.outcome == ReadTry::locked) {
          const bool holds_it = v->range.contains(from);
          if (holds_it || (v->start() > from && !mm_.speculate_retry(*seq))) {
            if (v->start() < limit) return {v, attempt.token};
            L::end_read(v->far, attempt.token);
            return {nullptr, {}};
          }
          L::end_read(v->far, attempt.token);
        }
      }
    }
  }
  // A writer is in the way: wait for it, and take the VMA under its lock.
  const MmapRead read(mm_);
  VmaT* const v = vma_from(from);
  if (v == nullptr || v->start() >= limit) return {nullptr, {}};
  for (;;) {
    const auto attempt = L::start_read_locked(v->near, v->far, mm_);
    if (attempt.outcome == ReadTry::locked) return {v, attempt.token};
    // Only the limit of readers can refuse: one of them will leave.
    cpu_relax();
  }
}

// Two faults may want one for the same VMA: the second finds that of the first.
template <VmaLockDesign L>
bool BasicAddressSpace<L>::prepare_anon_vma(VmaT& v) noexcept {
  const std::scoped_lock lock(anon_mutex_);
  if (v.anon_vma() != nullptr) return true;
  const auto usable = [](const VmaT* n) {
    return n != nullptr && n->anon_vma() != nullptr && n->chain_is_singular();
  };
  const VmaT* next = vma_from(v.end());
  const VmaT* donor = nullptr;
  if (usable(next) && may_share_anon_vma(v, *next)) {
    donor = next;
  } else if (const VmaT* prev = prev_of(v.start()); usable(prev) && may_share_anon_vma(*prev, v)) {
    donor = prev;
  }
  AnonVma* anon = nullptr;
  if (donor != nullptr) {
    anon = donor->anon_vma();
    anon->hold();
  } else {
    anon = AnonVma::create(context_.next_anon_id(), nullptr);
    if (anon == nullptr) return false;
  }
  anon->add_vma(1);
  // In the list before a fault can see the identity and give it a page.
  if (v.is_anonymous()) anon->root().add(v);
  v.set_anon_vma(anon);
  return true;
}

template <VmaLockDesign L>
auto BasicAddressSpace<L>::pin_vma(Address a) const -> std::optional<PinnedVma> {
  const Lookup found = lock_vma_under_rcu(a);
  if (found.end != LookupEnd::locked) return std::nullopt;
  uint64_t token = 0;
  static_assert(sizeof(typename L::Token) <= sizeof token);
  std::memcpy(&token, &found.token, sizeof found.token);
  return PinnedVma{found.vma, token};
}

template <VmaLockDesign L>
void BasicAddressSpace<L>::unpin_vma(void* vma, uint64_t token) const noexcept {
  typename L::Token t{};
  std::memcpy(&t, &token, sizeof t);
  L::end_read(static_cast<VmaT*>(vma)->far, t);
}

template <VmaLockDesign L>
VmaInfo BasicAddressSpace<L>::pinned_info(void* vma) const {
  return info_of(*static_cast<const VmaT*>(vma));
}

}  // namespace pervma

// speculative_fault.h: the first step of a fault under the speculative design. Included with
// fault_path.h.
//
// No lock is taken but that of the page's table, under which the sequence is compared once more
// before the entry is set. An RCU read section keeps the VMA's memory, the page tables and the
// frames that are looked at; nothing in it waits. What needs more than an entry of a table that is
// there (a new table, an anon_vma, a page of a file, a frame when none is at hand) falls back.
#pragma once

#include "fault/fault_path.h"

namespace pervma {

template <VmaLockDesign L>
auto PagedAddressSpace<L>::fault_speculatively(Address a, Access access) noexcept -> FirstStep
  requires(L::kReadKind == ReadKind::validated)
{
  const RcuReader rcu;
  const auto aborted = [this] {
    counts_.add(Event::abort);
    return FirstStep{};
  };
  for (uint8_t misses = 0;; ++misses) {
    const VmaT* const v = this->vma_at(a);
    if (v == nullptr) return aborted();
    const auto attempt = L::begin_read(const_cast<VmaT*>(v)->near, v->far, this->mm_);
    if (attempt.outcome == ReadTry::contended) return aborted();
    if (attempt.outcome == ReadTry::detached) {
      if (misses == Base::kMaxMisses) return aborted();
      counts_.add(Event::miss);
      continue;
    }
    const VmaFields copy = *v;
    if (!L::still_valid(v->near, this->mm_, attempt.token) || !copy.range.contains(a)) {
      return aborted();
    }
    // The copy is of one moment, at which the VMA was here: a refusal is decided.
    FaultStep step = FaultStep::access_error;
    if (allows(copy.flags(), access)) {
      step = soft_mmu_.serve(
          {copy, a, access, FaultHold::speculation, {&this->mm_, attempt.token.seq}});
    }
    counts_.add(is_decided(step) ? Event::success : Event::retry);
    if (!is_decided(step)) return {};
    return {outcome_of(step)};
  }
}

}  // namespace pervma

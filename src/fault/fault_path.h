// fault_path.h: the way of a fault. Included by the .cpp files that instantiate a design.
#pragma once

#include "fault/fault_wait.h"
#include "fault/paged_address_space.h"
#include "sync/assert.h"
#include "sync/probes.h"
#include "vm/lookup.h"

namespace pervma {

constexpr bool allows(VmaFlags flags, Access access) noexcept {
  switch (access) {
    case Access::write: return flags.has(VmaFlag::write);
    case Access::exec: return flags.has(VmaFlag::exec);
    case Access::read: break;
  }
  return includes(rights_of(flags), Right::user);
}

constexpr FaultOutcome outcome_of(FaultStep step) noexcept {
  switch (step) {
    case FaultStep::resolved: return FaultOutcome::resolved;
    case FaultStep::map_error: return FaultOutcome::map_error;
    case FaultStep::access_error: return FaultOutcome::access_error;
    case FaultStep::interrupted: return FaultOutcome::interrupted;
    case FaultStep::bus_error:
    case FaultStep::user_missing:  // Where nothing can be waited for.
    case FaultStep::user_write_protect:
    case FaultStep::user_minor: return FaultOutcome::bus_error;
    default: return FaultOutcome::out_of_memory;
  }
}

constexpr UserFaultModes user_kind_of(FaultStep step) noexcept {
  switch (step) {
    case FaultStep::user_missing: return UserFaultModes::missing;
    case FaultStep::user_write_protect: return UserFaultModes::write_protect;
    default: return UserFaultModes::minor;
  }
}

template <VmaLockDesign L>
FaultOutcome PagedAddressSpace<L>::handle_fault(Address a, Access access, FaultOrigin origin,
                                                const std::stop_token& stop) {
  FirstStep first;
  if (origin == FaultOrigin::user) {
    if constexpr (L::kReadKind == ReadKind::validated) {
      first = fault_speculatively(a, access);
    } else {
      first = fault_under_vma_lock(a, access, stop);
    }
  }
  if (first.outcome) return *first.outcome;
  return fault_under_mmap_lock(a, access, first.next, stop);
}

// --- first step: the VMA lock alone
// ---------------------------------------------------------------

template <VmaLockDesign L>
auto PagedAddressSpace<L>::fault_under_vma_lock(Address a, Access access,
                                                const std::stop_token& stop) noexcept -> FirstStep {
  const Lookup found = this->lock_vma_under_rcu(a);
  if (found.misses != 0) counts_.add(Event::miss, found.misses);
  if (found.end != LookupEnd::locked) {
    counts_.add(Event::abort);
    return {};
  }
  const HeldFault f{a, access, FaultHold::vma_lock, stop};
  const FaultStep step = serve_under_vma_lock(*found.vma, f);
  if (step >= FaultStep::must_wait) [[unlikely]]
    return wait_with_vma(found, f, step);
  Base::end_read(*found.vma, found.token);
  // The VMA may be gone from here on: nothing of it is looked at again.
  if (step >= FaultStep::out_of_memory) [[unlikely]]
    return without_vma(step, a);
  counts_.add(Event::success);
  return {outcome_of(step)};
}

template <VmaLockDesign L>
[[gnu::noinline]] auto PagedAddressSpace<L>::without_vma(FaultStep step, Address a) noexcept
    -> FirstStep {
  const bool has_room = step == FaultStep::out_of_memory && engine_.make_room();
  if (is_decided(step) && !has_room) {
    counts_.add(Event::success);
    return {outcome_of(step)};
  }
  PERVMA_PROBE(vma_retry, this, a.value);
  counts_.add(Event::retry);
  return {};
}

// Lets go of the VMA, then waits. Apart, so that faults that wait for nothing do not pay for it.
template <VmaLockDesign L>
[[gnu::noinline]] auto PagedAddressSpace<L>::wait_with_vma(const Lookup& found, const HeldFault& f,
                                                           FaultStep step) noexcept -> FirstStep {
  std::optional<FaultWait> wait;
  {
    const VmaHold hold(found);
    step = remember(wait, *found.vma, f, step);
  }
  if (!wait) return without_vma(step, f.address);
  PERVMA_PROBE(vma_retry, this, f.address.value);
  counts_.add(Event::retry);
  int answers = 0;
  return {wait->finish(f.stop, answers),
          wait->is_for_page() ? FaultHold::mmap_lock_may_wait : FaultHold::mmap_lock};
}

// What the fault waits for when the lock that keeps the VMA is gone. A user fault first takes its
// place among those who are woken and then looks at its page again: whoever brings it from here on
// wakes the fault. Its context is asked for here, under the lock, and kept: registering is done
// when the VMA's readers have left.
template <VmaLockDesign L>
FaultStep PagedAddressSpace<L>::remember(std::optional<FaultWait>& wait, VmaT& vma,
                                         const HeldFault& f, FaultStep step) noexcept {
  if (is_user_fault(step)) {
    wait.emplace(static_cast<UserWaits&>(*vma.user_context()),
                 UserFault{f.address.page_down(), f.access, user_kind_of(step)});
    step = f.hold == FaultHold::vma_lock ? serve_under_vma_lock(vma, f)
                                         : serve_under_mmap_lock(vma, f);
    if (is_user_fault(step)) {
      wait->set({f.address.page_down(), f.access, user_kind_of(step)});
    } else {
      wait.reset();
    }
  }
  if (step == FaultStep::must_wait) wait.emplace(soft_mmu_.awaited(vma, f.address));
  return step;
}

// A request of its own each time: one that shows the VMA as a copy does not have the identity that
// came later.
template <VmaLockDesign L>
FaultStep PagedAddressSpace<L>::serve(VmaT& vma, const HeldFault& f) noexcept {
  return soft_mmu_.serve({vma, f.address, f.access, f.hold, {}, &f.stop});
}

template <VmaLockDesign L>
FaultStep PagedAddressSpace<L>::serve_under_vma_lock(VmaT& vma, const HeldFault& f) noexcept {
  if (!allows(vma.flags(), f.access)) return FaultStep::access_error;
  const FaultStep step = serve(vma, f);
  if (step != FaultStep::needs_anon_vma) return step;
  {
    // Neighbours may be looked at under the mmap lock only; waiting for it here could be for a
    // writer who waits for this VMA.
    const std::optional<MmapRead> mm = MmapRead::try_lock(this->mm_);
    if (!mm) return FaultStep::needs_mmap_lock;
    if (!this->prepare_anon_vma(vma)) return FaultStep::out_of_memory;
  }
  return serve(vma, f);
}

// --- second step: the mmap lock for read
// ----------------------------------------------------------

template <VmaLockDesign L>
FaultOutcome PagedAddressSpace<L>::fault_under_mmap_lock(Address a, Access access, FaultHold hold,
                                                         const std::stop_token& stop) noexcept {
  int answers = 0;
  for (int rooms = 0;;) {
    std::optional<FaultWait> wait;
    std::optional<MmapRead> mm = MmapRead::lock_killable(this->mm_, stop);
    if (!mm) return FaultOutcome::interrupted;
    VmaT* vma = this->vma_at(a);
    if (vma == nullptr) {
      const VmaT* above = this->vma_from(a);
      if (above == nullptr || !above->flags().has(VmaFlag::growsdown)) {
        return FaultOutcome::map_error;
      }
      // There is no way up from read to write: what was found is looked for again.
      mm.reset();
      std::optional<MmapWrite> writer = MmapWrite::lock(this->mm_, stop);
      if (!writer) return FaultOutcome::interrupted;
      this->mm_.assert_held_write();
      vma = this->expand_stack(a);
      if (vma == nullptr) return FaultOutcome::map_error;
      mm.emplace(downgrade(std::move(*writer)));
    }
    const HeldFault f{a, access, hold, stop};
    FaultStep step = serve_under_mmap_lock(*vma, f);
    if (step >= FaultStep::must_wait) step = remember(wait, *vma, f, step);
    if (step == FaultStep::out_of_memory && rooms++ < SoftEngine::kMaxRooms) {
      mm.reset();
      if (engine_.make_room()) continue;
    }
    if (!wait) return outcome_of(step);
    mm.reset();
    if (const std::optional<FaultOutcome> end = wait->finish(stop, answers)) return *end;
    if (wait->is_for_page()) hold = FaultHold::mmap_lock_may_wait;
  }
}

template <VmaLockDesign L>
FaultOutcome PagedAddressSpace<L>::fault_in(VmaT& vma, Address a, Access access) noexcept {
  const std::stop_token never;
  return outcome_of(serve_under_mmap_lock(vma, {a, access, FaultHold::mmap_lock_may_wait, never}));
}

template <VmaLockDesign L>
FaultStep PagedAddressSpace<L>::serve_under_mmap_lock(VmaT& vma, const HeldFault& f) noexcept {
  if (!allows(vma.flags(), f.access)) return FaultStep::access_error;
  const FaultStep step = serve(vma, f);
  if (step != FaultStep::needs_anon_vma) return step;
  if (!this->prepare_anon_vma(vma)) return FaultStep::out_of_memory;
  return serve(vma, f);
}

}  // namespace pervma

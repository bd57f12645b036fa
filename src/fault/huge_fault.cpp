// huge_fault.cpp: accesses to huge pages.
#include "fault/frame_bytes.h"
#include "fault/soft_mmu.h"

namespace pervma {

// `none`: what was found in place of a leaf entry.
FaultStep SoftMmu::serve_without_leaf(const FaultRequest& fault, LeafSlot none) noexcept {
  if (!none.met_huge()) return no_frame(fault);
  if (const HugeSlot huge = tables_.find_huge(fault.address)) {
    if (const Step step = serve_huge(fault, huge)) return *step;
  }
  return serve(fault);  // It was split, or is gone.
}

// Rights go to the whole page where all of it is the VMA's and nobody else's; else it is split, and
// what is wanted happens to the one small page.
SoftMmu::Step SoftMmu::serve_huge(const FaultRequest& fault, HugeSlot slot) noexcept {
  const PageEntry seen = slot.load();
  if (!seen.is_huge()) return {};
  const Right rights = rights_of(fault.vma.flags());
  const bool writes = fault.access == Access::write;
  const PageEntry wanted = seen.with_rights(writes ? rights : without_write(rights));
  if (wanted == seen) return FaultStep::resolved;
  if (writes && fault.vma.anon_vma() == nullptr) return FaultStep::needs_anon_vma;
  const bool is_whole = Range(fault.vma.range).contains(huge_range(fault.address));
  {
    const SpinGuard guard(slot.lock());
    if (!fault.validation.holds()) return FaultStep::needs_mmap_lock;
    if (slot.peek() != seen) return {};
    // Written already, or shared with the other side of a fork no more.
    const bool is_own = !writes || seen.allows(Right::write) || frames_.is_sole_block(seen.frame());
    if (is_whole && is_own) {
      slot.set(wanted);
      return FaultStep::resolved;
    }
  }
  // Without a lock on the VMA its tables may be on their way out: they stay as they are.
  if (fault.hold == FaultHold::speculation) return FaultStep::needs_mmap_lock;
  tables_.split(slot);
  return {};
}

// As load() and store() of small pages. Inside their read section.
SoftMmu::Reach SoftMmu::load_huge(Address a, std::span<std::byte> to) const noexcept {
  const HugeSlot slot = tables_.find_huge(a);
  if (!slot) return Reach::faults;
  const PageEntry entry = slot.load();
  if (!entry.allows(Right::user)) return Reach::faults;
  load_from_frame(to, frames_.data(entry.frame()) + (a - huge_range(a).start));
  EntryWord::end_load();
  const PageEntry now = slot.peek();
  if (!now.allows(Right::user) || now.frame() != entry.frame()) return Reach::faults;
  if (!now.is_young()) [[unlikely]]
    slot.mark_used(now);
  return Reach::done;
}

SoftMmu::Reach SoftMmu::store_huge(Address a, std::span<const std::byte> from) noexcept {
  const HugeSlot slot = tables_.find_huge(a);
  // A table's entry has no rights.
  if (!slot || !slot.peek().allows(Right::write)) return Reach::faults;
  const SpinGuard guard(slot.lock());
  const PageEntry entry = slot.peek();
  if (!entry.allows(Right::write)) return Reach::faults;
  EntryWord::begin_store();
  if (!entry.is_young()) [[unlikely]]
    slot.set(entry.used());
  store_to_frame(frames_.data(entry.frame()) + (a - huge_range(a).start), from);
  return Reach::done;
}

}  // namespace pervma

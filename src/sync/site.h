// site.h: the places of the lock protocols that a checker can break, one at a time: the seam for
// mutants.
//
// A protocol writes each order that is not relaxed as P::order(Site::x, std::memory_order_...) and
// each check or wake-up that matters as `if (P::keep(Site::x) && ...)`. Natively both are
// constexpr, the identity and true, and nothing is left of them. A checker's platform weakens one
// site to relaxed, or does not keep it, and one of its harnesses must notice (verify/mutants.txt).
#pragma once

#include <cstdint>

namespace pervma {

enum class Site : uint16_t {
  none,  // no site: the protocol as it is

  // --- vma_lock_refcount.h: orders, by their tags
  vma_attach,        // [L1]
  vma_enter,         // [L2]
  vma_leave,         // [L3]
  vma_exclude,       // [L4]
  vma_exclude_ends,  // [L5]
  vma_drained,       // [L6]
  vma_detach,        // [L7]
  // checks and wake-ups
  vma_reader_refuses_detached,  // a count of 0 is not raised
  vma_reader_refuses_exclude,   // nor one with kExclude, or at its limit
  vma_reader_compares_owner,    // the VMA may have been reused for another space
  vma_reader_compares_seq,      // the VMA may be write-locked
  vma_reader_wakes_writer,      // the last one out, at kExclude+1
  vma_reader_wakes_detacher,    // the last one out, at kExclude
  vma_writer_drains,            // a writer waits for the readers inside
  vma_writer_marks_inside,      // the mark is made before kExclude is taken back
  vma_abort_restores,           // a stopped writer takes kExclude back
  vma_detach_drains,            // a detacher waits for the readers inside
  vma_detach_in_one_step,       // its reference goes and kExclude comes in one exchange
  // retirement
  vma_last_out,             // [L8]
  vma_retire,               // [L9]
  vma_reader_ends_retired,  // the last one out of a retired range, at kRetired + kExclude

  // --- range/range_cell.h: orders
  copy_open,   // [G1]
  copy_fence,  // [G2]
  copy_mark,   // [G4]
  // checks
  copy_compares_seq,      // the range may be write-locked
  copy_refuses_detached,  // or gone
  copy_refuses_exclude,   // or on its way out
  copy_compares_again,    // the mark may have moved meanwhile

  // --- refcount.h: orders
  ref_get,       // [C1]
  ref_put,       // [C2]
  ref_last_put,  // [C3]
  ref_set,       // [C4]
  // checks
  ref_get_refuses_free,  // a count of 0 is not raised
  ref_get_keeps_stuck,   // a saturated count is not raised any more
  ref_put_keeps_stuck,   // nor lowered
  ref_put_tells_last,    // only the last put says so
};

}  // namespace pervma

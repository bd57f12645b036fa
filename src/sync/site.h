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

  // --- vma_refcount.h, vma_lock_refcount.h: orders, by their tags
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
  vma_writer_spares_detached,   // a detached VMA is marked, and has nobody to wait for
  vma_kept_refuses_detached,    // under the mmap read lock, too, 0 is not raised
  vma_kept_refuses_full,        // nor a count at its limit
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
  // range/retired_count.h
  range_counts_out,  // [G5]
  range_all_out,     // [G6]
  // checks
  copy_compares_seq,      // the range may be write-locked
  copy_refuses_detached,  // or gone
  copy_refuses_exclude,   // or on its way out
  copy_refuses_unmarked,  // or fresh from its last life
  copy_compares_again,    // the mark may have moved meanwhile

  // --- mmap_lock.h, mmap_lock_slow.h: orders
  mmap_read,          // [M1]
  mmap_write,         // [M2]
  mmap_read_ends,     // [M3]
  mmap_write_ends,    // [M4]
  mmap_downgrade,     // [M5]
  mmap_take_late,     // [M6]
  mmap_grant,         // [M7]
  mmap_granted,       // [M8]
  mmap_sees_grant,    // [M9]
  mmap_queue_lock,    // [M10]
  mmap_queue_unlock,  // [M11]
  // checks and wake-ups
  mmap_read_sees_writer,         // nobody reads beside a writer
  mmap_write_sees_holders,       // or writes beside anybody
  mmap_no_overtaking,            // a newcomer goes behind those who wait
  mmap_reader_grants,            // the last reader out hands the lock on
  mmap_writer_grants,            // so does a writer
  mmap_downgrade_grants,         // and a writer that becomes a reader, to readers
  mmap_cancel_grants,            // and a waiter that gives up
  mmap_cancel_sees_grant,        // who gave up may hold the lock already
  mmap_grant_waits_for_holders,  // a writer is granted nothing beside a holder
  mmap_grant_waits_for_writer,   // nor are readers beside a writer
  mmap_grant_wakes,              // a sleeper is woken
  mmap_queue_ends,               // kQueued goes with the last waiter

  // --- the sequence, in the same files: orders
  seq_begins,       // [S1]
  seq_ends,         // [S2]
  seq_compare,      // [S3]
  seq_speculate,    // [S4]
  seq_begin_fence,  // [S5]
  seq_retry_fence,  // [S6]
  // checks
  seq_ends_before_release,    // and not after the lock is somebody else's
  seq_ends_at_downgrade,      // a downgrade ends the VMA write locks
  seq_never_wraps,            // broken: 8 bits
  seq_speculate_refuses_odd,  // nothing is read beside a writer
  seq_retry_compares,         // or kept that was read beside one

  // --- vma_lock_scalable.h: orders
  hot_read,         // [H1]
  hot_publish,      // [H2]
  hot_enter_alone,  // [H3]
  hot_count,        // [H4]
  // checks
  hot_reader_compares_owner,
  hot_reader_compares_seq,
  hot_writer_looks_after_drain,  // slots are looked for when the count word is drained
  hot_writer_drains_slots,
  hot_detach_closes_slots,
  hot_demoted_stay_closed,     // whoever still has the array finds no way in
  hot_promoter_is_inside,      // promotion takes a validated lock on the count word
  hot_abort_restores,          // a stopped writer opens the count word again
  hot_abort_restores_slots,    // and the slots that it had excluded
  hot_writer_spares_detached,  // as vma_writer_spares_detached

  // --- vma_lock_speculative.h: orders
  spec_attached,  // [U1]
  spec_attach,    // [U2]
  // checks
  spec_reader_looks_at_attached,
  spec_reader_compares_owner,

  // --- racy.h: orders
  racy_store,  // [V3]

  // --- vma_rwsem.h: orders
  rwsem_enter,    // [X1]
  rwsem_leave,    // [X2]
  rwsem_take,     // [X3]
  rwsem_drained,  // [X4]
  rwsem_admit,    // [X5]
  rwsem_open,     // [X6]
  // checks and wake-ups
  rwsem_reader_refuses_writer,
  rwsem_reader_wakes_writer,
  rwsem_reader_knows_detached,  // and says so
  rwsem_writer_drains,          // a writer waits for the readers inside
  rwsem_waits,                  // and says that it does
  rwsem_abort_restores,         // a stopped writer does not wait any more
  rwsem_detach_drains,          // a detacher waits for the readers inside

  // --- vma_count.h: orders
  count_enter,  // [N1]
  count_leave,  // [N2]
  count_take,   // [N3]
  count_admit,  // [N4]
  count_open,   // [N5]
  // checks and wake-ups
  count_reader_refuses_writer,
  count_reader_wakes_writer,
  count_reader_refuses_detached,
  count_writer_drains,    // a writer waits for the readers inside
  count_announces_sleep,  // and says that it sleeps
  count_abort_restores,   // a stopped writer does not sleep any more
  count_detach_drains,    // a detacher waits for the readers inside

  // --- vma_lock_word.h: checks
  word_reader_compares_owner,
  word_reader_compares_seq,
  word_writer_spares_detached,  // as vma_writer_spares_detached

  // --- tree/maple_protocol.h: orders
  maple_child,      // [T1]
  maple_publish,    // [T2]
  maple_entry,      // [T3]
  maple_exchange,   // [T4]
  maple_pivot,      // [T5]
  maple_boundary,   // [T6]
  maple_is_dead,    // [T7]
  maple_mark_dead,  // [T8]
  // checks
  maple_slot_before_pivot,    // a slot gets its entry before the boundary moves
  maple_publish_before_dead,  // a node is reachable before those that it replaces are marked

  // --- fault/spin_lock.h: orders
  spin_take,       // [P1]
  spin_take_late,  // [P2]
  spin_release,    // [P3]
  // checks
  spin_refuses_held,  // nobody takes what another holds
  spin_late_refuses_held,

  // --- fault/entry_word.h: orders
  entry_look,     // [P4]
  entry_set,      // [P5]
  table_look,     // [P6]
  table_publish,  // [P7]
  load_ends,      // [P8]
  store_begins,   // [P9]
  huge_set,       // [P10]
  huge_look,      // [P11]

  // --- fault/frame_word.h: orders
  frame_is_sole,     // [F1]
  frame_drop,        // [F2]
  frame_owned,       // [F19]
  frame_owner,       // [F20]
  frame_dirty,       // [F17]
  frame_write_back,  // [F18]
  // checks
  frame_hold_refuses_free,        // a frame on its way out is not held again
  frame_find_refuses_ended_list,  // nor is such a list gone to

  // --- fault/truncations.h: orders
  truncations_look,  // [F5]
  truncation,        // [F12]

  // --- fault/cache_word.h: orders
  cache_look,       // [F6]
  cache_node,       // [F7]
  cache_page_look,  // [F3]
  cache_page_read,  // [F4]
  cache_page_put,   // [F4]

  // --- fault/notifier_word.h: orders
  notifiers_look,  // [F14]
  notifiers_set,   // [F15]

  // --- fault/slot_word.h: orders
  slot_drop,  // [F13]

  // --- vm/identity_word.h: orders
  identity_look,  // [V1]
  identity_set,   // [V2]

  // --- late_end.h: checks
  late_end_waits_again,  // for those who came in the first grace period

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

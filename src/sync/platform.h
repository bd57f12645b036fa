// platform.h: what the lock protocols take from their surroundings: the names, not the things.
//
// The protocol classes are written as `template <class P> class BasicX`, with X = BasicX<
// NativePlatform>. A model checker brings a platform of its own with the same names; a test derives
// from NativePlatform and replaces hook() to force a schedule. Orders are std::memory_order
// constants everywhere: a checker's Atomic maps them to its own. So this header and the protocols'
// include nothing native; whoever uses X includes native_platform.h.
#pragma once

#include <atomic>
#include <cstdint>

#include "sync/site.h"

namespace pervma {

// The places in the protocols where a test may hold a thread to let another one run.
enum class Hook : uint8_t {
  read_before_increment,    // count loaded, exchange not yet tried
  read_after_increment,     // count raised, owner and sequence not yet compared
  read_before_wake,         // count lowered to the writer's value, sleeper not yet woken
  write_after_exclude,      // kExclude added, readers not yet drained
  write_before_sleep,       // the writer saw a reader and is about to sleep
  write_before_abort,       // a stop was seen, kExclude not yet taken back
  detach_before_exclude,    // the count was not 1, kExclude not yet added
  detach_after_exclude,     // kExclude added, readers not yet drained
  hot_before_increment,     // a reader found a slot, its count not yet raised
  hot_before_publish,       // a reader made an array of slots, not yet published
  hot_after_count_drained,  // the count word is excluded, slots not yet looked for
  queue_after_push,         // a waiter is in the queue of an mmap lock
  queue_before_grant,       // the last holder left, the next is not yet chosen
  queue_before_cancel,      // a waiter saw its stop, and has not yet left the queue
  range_still_in_tree,      // a range of several is detached or retired, the tree leads to it yet
};

// Moments that a platform may tell an observer (probes.h).
enum class Probe : uint8_t {
  mmap_wait,          // an mmap lock was not to be had at once
  writer_wait_begin,  // a writer found readers in a VMA
  writer_wait_end,    // and goes on: they have left, or it was stopped
};
template <class P>
void tell(Probe probe, const void* lock) noexcept {
  if constexpr (requires { P::probe(probe, lock); }) P::probe(probe, lock);
}

// How long a waiter polls before it sleeps.
enum class SpinBudget : uint8_t {
  pause,  // a few pauses
  full,   // pauses, then yields, for about the price of a wake-up
};

struct NativePlatform;

}  // namespace pervma

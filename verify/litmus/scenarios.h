// scenarios.h: what several designs are put through alike. A harness names the design and the sites
// that it must catch.
#pragma once

#include "vma.h"

namespace pervma::litmus {

// Of static linkage, as a harness's VMA, so that no code of the compiler's guards its construction.
static Space mm;
static Space other;  // where the VMA's memory has its next life
static std::atomic<uint32_t> stopped{0};

// What the VMA is like before the threads run.
template <auto& kVma>
void attached() {
  kVma.make(mm, 10);
}
// Design `scalable`; a writer that finds a hot VMA's slots in use leaves it hot.
template <auto& kVma>
void attached_and_hot() {
  attached<kVma>();
  make_hot(mm, kVma);
  assert(kVma.try_read(mm) == 10);
}

// One reader and one writer of the VMA: rule 1, and R6.
template <auto& kVma, void (*kBegin)() = attached<kVma>>
int reader_and_writer() {
  kBegin();
  run([] { (void)kVma.try_read(mm); }, [] { kVma.write_hold(mm, 11); });
  return 0;
}

// The VMA is detached and its memory becomes a VMA of another space, beside a reader with a stale
// pointer: R14, R16, R22, R23.
template <auto& kVma, void (*kBegin)() = attached<kVma>>
int reuse_by_another_space() {
  kBegin();
  run(
      [] {
        const uint64_t seen = kVma.try_read(mm);
        assert(seen == 0 || seen == 10);
      },
      [] { kVma.pass(mm, other, 20); });
  return 0;
}

// Readers and the next writer, whatever happened before.
template <auto& kVma>
void get_in_again() {
  assert(kVma.try_read(mm) != 0);
  kVma.write_hold(mm, 12);
  assert(kVma.try_read(mm) == 12);
}

// A writer is stopped while it waits for a reader, or too late for that: R18.
template <auto& kVma>
int stopped_writer() {
  attached<kVma>();
  run([] { (void)kVma.try_read(mm); }, [] { kVma.write_hold_or_stop(mm, 11, {&stopped}); },
      [] { stopped.store(1, std::memory_order_relaxed); });
  get_in_again<kVma>();
  return 0;
}

}  // namespace pervma::litmus

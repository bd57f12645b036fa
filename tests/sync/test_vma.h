// test_vma.h: a VMA as the lock tests need it: the two lock parts, and two plain fields that stand
// for everything that the lock protects.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>

#include "sync/mmap_lock.h"

namespace pervma::test {

template <class L, class Mm = typename L::Space>
struct TestVma {
  typename L::Near near;
  typename L::Far far;
  // Written by writers, both alike; plain, so that TSan sees a lock that does not order them.
  uint64_t left = 0;
  uint64_t right = 0;

  uint32_t count() const { return far.vm_refcnt.load(std::memory_order_relaxed); }
  void set_count(uint32_t n) { far.vm_refcnt.store(n, std::memory_order_relaxed); }
  uint64_t mark() const { return near.vm_lock_seq.load(std::memory_order_relaxed); }

  ReadTry begin(const Mm& mm) { return L::begin_read(near, far, mm).outcome; }
  void end() { L::end_read(far, {}); }
  bool lock_write(Mm& mm, const typename L::StopToken& stop = {}) {
    return L::lock_write(near, far, mm, stop);
  }
  bool is_write_locked(const Mm& mm) const { return L::is_write_locked(near, mm); }

  // For a detached VMA; under a mmap write hold of its own.
  void init_and_attach(Mm& mm) {
    ASSERT_TRUE(L::init(near, far, mm));
    mm.lock_write();
    ASSERT_TRUE(lock_write(mm));
    L::attach(near, far, mm);
    mm.unlock_write();
  }
  void lock_and_detach(Mm& mm) {
    mm.lock_write();
    ASSERT_TRUE(lock_write(mm));
    L::detach(near, far, mm);
    mm.unlock_write();
  }
};

}  // namespace pervma::test

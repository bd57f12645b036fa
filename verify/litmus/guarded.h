// guarded.h: two numbers under the mmap lock, which are equal for whoever holds it.
#pragma once

#include "platform.h"
#include "sync/mmap_lock_slow.h"

namespace pervma::litmus {

struct Guarded {
  BasicMmapLock<LitmusPlatform> lock;
  int first = 0;
  int second = 0;

  void write() {
    ++first;
    ++second;
  }
  void read() const { assert(first == second); }
  void write_hold() {
    lock.lock_write();
    write();
    lock.unlock_write();
  }
  void read_hold() {
    lock.lock_read();
    read();
    lock.unlock_read();
  }
};

}  // namespace pervma::litmus

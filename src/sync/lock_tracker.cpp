#include "sync/lock_tracker.h"

#include <array>
#include <cstdio>
#include <cstdlib>

#include "sync/call_stack.h"

namespace pervma {
namespace {

// More than this many at once are counted but not named; a question is then answered "may hold".
constexpr uint32_t kTracked = 64;

struct Held {
  LockTracker::Kind kind;
  const void* lock;
  CallStack taken_at;
};

struct ThreadLocks {
  std::array<Held, kTracked> held;
  uint32_t size;
  uint32_t unnamed;
};

constinit thread_local ThreadLocks t_locks{};

const char* name(LockTracker::Kind kind) noexcept {
  switch (kind) {
    case LockTracker::Kind::mmap_read: return "mmap lock, read";
    case LockTracker::Kind::mmap_write: return "mmap lock, write";
    case LockTracker::Kind::vma_read: return "VMA, read";
    case LockTracker::Kind::file: return "file lock";
    case LockTracker::Kind::anon: return "anon lock";
    case LockTracker::Kind::page_table: return "page-table lock";
  }
  return "?";
}

[[noreturn]] void fail(const char* what, const void* lock) noexcept {
  std::fprintf(stderr, "pervma: lock check failed: %s (%p), at:\n", what, lock);
  CallStack::here().print();
  std::fprintf(stderr, "this thread holds:\n");
  for (uint32_t i = 0; i < t_locks.size; ++i) {
    const Held& h = t_locks.held[i];
    std::fprintf(stderr, "  %s (%p), taken at:\n", name(h.kind), h.lock);
    h.taken_at.print();
  }
  if (t_locks.unnamed != 0) std::fprintf(stderr, "  and %u more\n", t_locks.unnamed);
  std::abort();
}

// The most recent entry, or kTracked.
uint32_t find(LockTracker::Kind kind, const void* lock) noexcept {
  for (uint32_t i = t_locks.size; i-- > 0;) {
    if (t_locks.held[i].kind == kind && t_locks.held[i].lock == lock) return i;
  }
  return kTracked;
}

}  // namespace

uint32_t LockTracker::count(Kind kind) noexcept {
  uint32_t n = 0;
  for (uint32_t i = 0; i < t_locks.size; ++i) n += t_locks.held[i].kind == kind ? 1u : 0u;
  return n;
}

void LockTracker::push(Kind kind, const void* lock) noexcept {
  if (t_locks.size == kTracked) {
    ++t_locks.unnamed;
  } else {
    t_locks.held[t_locks.size++] = {kind, lock, CallStack::here()};
  }
}

void LockTracker::pop(Kind kind, const void* lock) noexcept {
  uint32_t i = find(kind, lock);
  if (i == kTracked) {
    if (t_locks.unnamed == 0) fail("released by a thread that does not hold it", lock);
    --t_locks.unnamed;
    return;
  }
  for (--t_locks.size; i < t_locks.size; ++i) t_locks.held[i] = t_locks.held[i + 1];
}

void LockTracker::replace(const void* lock) noexcept {
  const uint32_t i = find(Kind::mmap_write, lock);
  if (i == kTracked) fail("downgraded by a thread that does not hold it for write", lock);
  t_locks.held[i].kind = Kind::mmap_read;
}

bool LockTracker::holds(Kind kind, const void* lock) noexcept {
  return find(kind, lock) != kTracked || t_locks.unnamed != 0;
}

void LockTracker::check_held(Kind kind, const void* lock) noexcept {
  if (!holds(kind, lock)) fail("asserted to be held, and is not", lock);
}

void LockTracker::check_mmap_wait(const void* lock) noexcept {
  if (count(Kind::vma_read) != 0) fail("wait for an mmap lock under a VMA read lock", lock);
  if (count(Kind::file) != 0) fail("wait for an mmap lock under a file lock", lock);
  if (count(Kind::anon) != 0) fail("wait for an mmap lock under an anon lock", lock);
  if (count(Kind::page_table) != 0) fail("wait for an mmap lock under a page-table lock", lock);
  if (find(Kind::mmap_read, lock) != kTracked || find(Kind::mmap_write, lock) != kTracked) {
    fail("wait for an mmap lock that this thread holds", lock);
  }
}

void LockTracker::check_drain(const void* lock) noexcept {
  if (count(Kind::vma_read) != 0) fail("write-lock of a VMA under a VMA read lock", lock);
  if (count(Kind::file) != 0) fail("write-lock of a VMA under a file lock", lock);
  if (count(Kind::anon) != 0) fail("write-lock of a VMA under an anon lock", lock);
  if (count(Kind::page_table) != 0) fail("write-lock of a VMA under a page-table lock", lock);
}

void LockTracker::check_inner(Kind kind, const void* lock) noexcept {
  if (kind <= Kind::anon && count(Kind::page_table) != 0) {
    fail("wait for a lock under a page-table lock", lock);
  }
  if (kind <= Kind::file && count(Kind::anon) != 0)
    fail("wait for a lock under an anon lock", lock);
}

}  // namespace pervma

#include "tree/slab_store.h"

#include <sys/mman.h>

namespace pervma::detail {

namespace {
constexpr int kReserved = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
constexpr int kMadvCollapse = 25;  // Linux 6.1; glibc's headers may be older.
}  // namespace

void* chunk_reserve(size_t bytes) noexcept {
  // With room to spare, then trimmed to the aligned part.
  const size_t room = 2 * bytes;
  void* memory = ::mmap(nullptr, room, PROT_NONE, kReserved, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t chunk = (begin + bytes - 1) & ~(bytes - 1);
  if (chunk != begin) ::munmap(memory, chunk - begin);
  const uintptr_t end = chunk + bytes;
  if (begin + room != end) ::munmap(reinterpret_cast<void*>(end), begin + room - end);
  return reinterpret_cast<void*>(chunk);
}

bool chunk_open(void* part, size_t bytes) noexcept {
  return ::mprotect(part, bytes, PROT_READ | PROT_WRITE) == 0;
}

bool chunk_open_huge(void* chunk, size_t bytes) noexcept {
  if (!chunk_open(chunk, bytes)) return false;
  // Only advice: without huge pages it is as right, and slower.
  static_cast<void>(::madvise(chunk, bytes, MADV_HUGEPAGE));
  return true;
}

void chunk_close(void* part, size_t bytes) noexcept {
  if (::mmap(part, bytes, PROT_NONE, kReserved | MAP_FIXED, -1, 0) != MAP_FAILED) return;
  // Too many mappings: then only the memory goes.
  static_cast<void>(::madvise(part, bytes, MADV_DONTNEED));
}

void chunk_collapse(void* chunk, size_t bytes) noexcept {
  static_cast<void>(::madvise(chunk, bytes, kMadvCollapse));
}

void chunk_release(void* chunk, size_t bytes) noexcept { ::munmap(chunk, bytes); }

}  // namespace pervma::detail

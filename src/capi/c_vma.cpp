// The C functions that look at VMAs and hold them.
#include <new>
#include <optional>

#include "capi/c_common.h"
#include "capi/c_handles.h"

namespace {

using namespace pervma;

static_assert(PERVMA_VMA_READ == static_cast<int>(VmaFlag::read) &&
              PERVMA_VMA_WRITE == static_cast<int>(VmaFlag::write) &&
              PERVMA_VMA_EXEC == static_cast<int>(VmaFlag::exec) &&
              PERVMA_VMA_SHARED == static_cast<int>(VmaFlag::shared) &&
              PERVMA_VMA_GROWSDOWN == static_cast<int>(VmaFlag::growsdown) &&
              PERVMA_VMA_LOCKED == static_cast<int>(VmaFlag::locked) &&
              PERVMA_VMA_DONT_COPY == static_cast<int>(VmaFlag::dont_copy) &&
              PERVMA_VMA_SEALED == static_cast<int>(VmaFlag::sealed));

// A VmaRead in the caller's memory, and whether it is there.
static_assert(sizeof(VmaRead) <= 3 * sizeof(uintptr_t) && alignof(VmaRead) <= alignof(uintptr_t));

bool is_held(const pervma_vma_guard& guard) noexcept { return guard.opaque[3] != 0; }
const VmaRead& read_of(const pervma_vma_guard& guard) noexcept {
  return *std::launder(reinterpret_cast<const VmaRead*>(&guard.opaque));
}

// As much as the caller's version has.
int tell(const VmaInfo& info, pervma_vma* vma) noexcept {
  const pervma_vma all{.size = vma->size,
                       .flags = info.flags.bits(),
                       .start = info.range.start.value,
                       .end = info.range.end.value,
                       .page_offset = info.page_offset,
                       .inode = info.inode};
  std::memcpy(vma, &all, std::min(sizeof all, size_t{vma->size}));
  return 0;
}
bool is_sized(const pervma_vma* vma) noexcept {
  return vma != nullptr && vma->size >= 2 * sizeof(uint32_t);
}

}  // namespace

extern "C" {

int pervma_vma_try_hold(pervma_space* space, uint64_t address, pervma_vma_guard* guard) {
  if (space == nullptr || guard == nullptr) return EINVAL;
  if (is_held(*guard)) return EBUSY;
  std::optional<VmaRead> read = space->space->try_read_vma(Address{address});
  if (!read) return EAGAIN;
  ::new (static_cast<void*>(&guard->opaque)) VmaRead(std::move(*read));
  guard->opaque[3] = 1;
  return 0;
}

int pervma_vma_guard_get(const pervma_vma_guard* guard, pervma_vma* vma) {
  if (guard == nullptr || !is_held(*guard) || !is_sized(vma)) return EINVAL;
  return capi::guarded([&] { return tell(read_of(*guard).info(), vma); });
}

void pervma_vma_guard_release(pervma_vma_guard* guard) {
  if (guard == nullptr || !is_held(*guard)) return;
  read_of(*guard).~VmaRead();
  *guard = {};
}

int pervma_vma_find(pervma_space* space, uint64_t address, pervma_vma* vma) {
  if (space == nullptr || !is_sized(vma)) return EINVAL;
  return capi::guarded([&] {
    const std::optional<VmaInfo> info = space->space->find_vma(Address{address});
    return info ? tell(*info, vma) : ENOENT;
  });
}

}  // extern "C"

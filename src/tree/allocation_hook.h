// allocation_hook.h: lets a test make any allocation of a pool or cache fail.
#pragma once

namespace pervma {

struct AllocationHook {
  // True: this allocation fails. Called once per allocation, under the pool's lock.
  bool (*fail)(void* context) = nullptr;
  void* context = nullptr;

  bool says_fail() const noexcept { return fail != nullptr && fail(context); }
};

}  // namespace pervma

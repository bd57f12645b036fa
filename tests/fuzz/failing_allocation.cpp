#include "fuzz/failing_allocation.h"

#include <cstdlib>
#include <new>

#include "vm/designs.h"

namespace {

struct Countdown {
  bool armed = false;
  bool lasts = false;
  bool failed = false;
  uint32_t left = 0;

  bool fails() noexcept {
    if (!armed || (failed && !lasts)) return false;
    if (left != 0) {
      --left;
      return false;
    }
    failed = true;
    return true;
  }
};
thread_local Countdown countdown;

bool hook(void* /*context*/) { return countdown.fails(); }

void* allocate(std::size_t size, std::size_t alignment) noexcept {
  if (countdown.fails()) return nullptr;
  if (alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) return std::malloc(size != 0 ? size : 1);
  return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

void* allocate_or_throw(std::size_t size, std::size_t alignment) {
  void* p = allocate(size, alignment);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

void* operator new(std::size_t n) { return allocate_or_throw(n, 1); }
void* operator new[](std::size_t n) { return allocate_or_throw(n, 1); }
void* operator new(std::size_t n, std::align_val_t a) {
  return allocate_or_throw(n, static_cast<std::size_t>(a));
}
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return allocate(n, 1); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return allocate(n, 1); }
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return allocate(n, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { std::free(p); }

namespace pervma::test {

namespace {

void set_hooks(SoftEngine& engine, AllocationHook with) noexcept {
  engine.vm().nodes.set_allocation_hook(with);
  for (const Design d : kDesigns) {
    with_design(d, [&](auto type) {
      engine.vm().vmas<typename decltype(type)::Lock>().set_allocation_hook(with);
    });
  }
}

}  // namespace

FailingAllocation::FailingAllocation(SoftEngine& engine, uint32_t after,
                                     FailureLasts lasts) noexcept
    : engine_(engine) {
  countdown = {.armed = true, .lasts = lasts == FailureLasts::on, .failed = false, .left = after};
  set_hooks(engine_, {&hook, nullptr});
  // Frames count by themselves: of one kind of memory or the other, whichever runs out first.
  engine_.frames().fail_after(after);
}

FailingAllocation::~FailingAllocation() {
  countdown.armed = false;
  set_hooks(engine_, {});
  engine_.frames().fail_never();
}

bool FailingAllocation::has_failed() noexcept { return countdown.failed; }

}  // namespace pervma::test

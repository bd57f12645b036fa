#include "sync/call_stack.h"

#include <execinfo.h>
#include <pthread.h>
#include <unistd.h>

namespace pervma {
namespace {

// The end of this thread's stack: nothing above it is looked at.
uintptr_t stack_end() noexcept {
  thread_local const uintptr_t end = [] {
    pthread_attr_t attributes;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) return uintptr_t{0};
    void* low = nullptr;
    size_t bytes = 0;
    pthread_attr_getstack(&attributes, &low, &bytes);
    pthread_attr_destroy(&attributes);
    return reinterpret_cast<uintptr_t>(low) + bytes;
  }();
  return end;
}

}  // namespace

CallStack CallStack::here() noexcept {
  CallStack stack;
  const uintptr_t end = stack_end();
  auto frame = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  while (stack.depth_ < kFrames && frame % sizeof(void*) == 0 && frame + 2 * sizeof(void*) <= end) {
    void* const* const words = reinterpret_cast<void* const*>(frame);
    if (words[1] == nullptr) break;
    stack.frames_[stack.depth_++] = words[1];
    const auto next = reinterpret_cast<uintptr_t>(words[0]);
    if (next <= frame) break;
    frame = next;
  }
  return stack;
}

void CallStack::print() const noexcept {
  backtrace_symbols_fd(frames_.data(), static_cast<int>(depth_), STDERR_FILENO);
}

}  // namespace pervma

// kernel_area.h: real memory of this process for the subject `kernel`.
#pragma once

#include <cstdint>

namespace pervma::bench {

// A piece of address space to map into at fixed places; what is mapped in it goes at the end.
// Nothing else comes to lie in it, though it is free: on both sides there are 64 GiB that the
// kernel uses first (tests/bench/scenarios_test.cpp tries it). An engine of the default size
// reserves more than that: make it when something is mapped here.
class KernelArea {
 public:
  explicit KernelArea(uint64_t bytes) noexcept;
  ~KernelArea();
  KernelArea(const KernelArea&) = delete;
  KernelArea& operator=(const KernelArea&) = delete;

  explicit operator bool() const noexcept { return start_ != 0; }
  uint64_t start() const noexcept { return start_; }
  // Private memory of small pages, to be read and written. False: the kernel gives no more.
  [[nodiscard]] bool map(uint64_t offset, uint64_t bytes) noexcept;

  static void* pointer(uint64_t a) noexcept { return reinterpret_cast<void*>(a); }
  static void write(uint64_t a) noexcept { *static_cast<volatile char*>(pointer(a)) = 1; }
  static char read(uint64_t a) noexcept { return *static_cast<volatile const char*>(pointer(a)); }

 private:
  uint64_t start_ = 0;
  const uint64_t bytes_;
};

}  // namespace pervma::bench

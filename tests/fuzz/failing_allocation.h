// failing_allocation.h: makes the n-th allocation from now on fail, wherever in pervma it is: tree
// nodes, VMAs, frames, and everything that comes from operator new. For programs of their own only:
// it replaces operator new.
#pragma once

#include <cstdint>

#include "fault/soft_engine.h"

namespace pervma::test {

enum class FailureLasts : uint8_t { once, on };

// While it exists, on this thread.
class FailingAllocation {
 public:
  // `after` allocations succeed; the next one fails, and with FailureLasts::on all later ones.
  FailingAllocation(SoftEngine& engine, uint32_t after, FailureLasts lasts) noexcept;
  ~FailingAllocation();
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;

  // Whether one has failed.
  static bool has_failed() noexcept;

 private:
  SoftEngine& engine_;
};

}  // namespace pervma::test

// oracle_kernel.h: executes operations on the kernel, in the process whose address space is the
// world (oracle_world.h). Allocates nothing.
#pragma once

#include <cstdint>
#include <span>

#include "trace/oracle_operation.h"

namespace pervma::trace::world {

struct KernelAnswer {
  OracleAnswer answer;
  std::span<const uint8_t> bits;  // of mincore, valid until the next one
};

// Longest range that mincore can be asked about.
inline constexpr uint64_t kMostMincorePages = 2048;

// After a fork it is the child that returns; the parent waits for it and ends as it does.
KernelAnswer execute(const OracleOperation&) noexcept;

// Where the break is.
Address break_now() noexcept;

}  // namespace pervma::trace::world

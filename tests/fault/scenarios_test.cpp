// The bug scenarios of docs/testing.md that are about the fault path.
#include <gtest/gtest.h>

#include "fault/paged_address_space.h"
#include "tests/fault/support.h"

namespace pervma {
namespace {

using namespace test;  // NOLINT: the suite speaks its language

// A VMA lock is released twice after RETRY, or not at all: whatever becomes of a fault, the count
// of its VMA is what it was.
TEST(R11, a_fault_releases_its_vma_once_whatever_becomes_of_it) {
  const auto engine = *Engine::create({.frames = {1000}});
  const auto space = *engine->create_space({.design = Design::refcount});
  auto& paged = static_cast<PagedAddressSpace<RefcountLock>&>(*space);
  const auto count_at = [&](Address a) {
    const MmapRead read(paged.mmap_lock());
    return paged.vma_at(a)->far.vm_refcnt.load(std::memory_order_relaxed);
  };
  const auto map_file = [&](VmaLockSafety safety) {
    FileRef file =
        *engine->open(std::make_shared<TestObject>(4 * kPageSize, safety), FileMode::read_write);
    return *space->map({.length = 8 * kPageSize,
                        .prot = Prot::read | Prot::write,
                        .flags = MapFlags::private_,
                        .file = std::move(file)});
  };
  const Address anon = *space->map({.length = 4 * kPageSize,
                                    .prot = Prot::read,
                                    .flags = MapFlags::private_ | MapFlags::anonymous});
  struct Fault {
    Address a;
    Access access;
    FaultOutcome outcome;
    uint64_t retries;
  };
  const Address unaudited = map_file(VmaLockSafety::unaudited);
  const Address waits = map_file(VmaLockSafety::audited);
  const Address memory = map_file(VmaLockSafety::memory);
  const Fault faults[] = {
      {anon, Access::read, FaultOutcome::resolved, 0},
      {anon, Access::write, FaultOutcome::access_error, 0},
      {unaudited, Access::read, FaultOutcome::resolved, 1},  // not to be asked under the VMA lock
      {unaudited, Access::write, FaultOutcome::resolved, 1},
      {waits, Access::read, FaultOutcome::resolved, 1},  // has to be waited for
      {waits + kPageSize, Access::write, FaultOutcome::resolved, 1},
      {waits, Access::write, FaultOutcome::resolved, 0},
      {waits + 6 * kPageSize, Access::read, FaultOutcome::bus_error, 0},
      {memory, Access::read, FaultOutcome::resolved, 0},
      {memory + 5 * kPageSize, Access::read, FaultOutcome::bus_error, 0},
  };
  for (const Fault& f : faults) {
    SCOPED_TRACE(&f - faults);
    const uint64_t before = space->fault_counters().retry;
    EXPECT_EQ(space->handle_fault(f.a, f.access), f.outcome);
    EXPECT_EQ(count_at(f.a), 1u) << "attached, nobody inside";
    EXPECT_LE(space->fault_counters().retry - before, f.retries);
  }
  EXPECT_GT(space->fault_counters().retry, 2u);
  EXPECT_EQ(space->check(), "");
}

}  // namespace
}  // namespace pervma
